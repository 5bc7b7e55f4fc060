"""llmsql: language models as SQL functions in DuckDB."""

__version__ = "0.1.0"
