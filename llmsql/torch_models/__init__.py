"""Causal language models in PyTorch: loading them, and decoding many rows side by side.

Its modules import torch at their top, so a backend imports them where it loads a model. What a
model is asked and what becomes of the answers is the backends' business.
"""
