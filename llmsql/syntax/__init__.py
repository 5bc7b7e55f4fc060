"""Text to names and values, and back. No database, no model."""
