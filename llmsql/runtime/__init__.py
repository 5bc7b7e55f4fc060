"""Deployed models at work: what is loaded, what is known, and what is asked next."""
