"""What models have answered, on disk: nothing is paid for twice, also by another process.

Owns the file beside a database. What is looked up and when is the scheduler's business.
"""

from llmsql.store.entry import Entry, Group
from llmsql.store.file import SUFFIX
from llmsql.store.found import Found
from llmsql.store.store import Store

__all__ = ["SUFFIX", "Entry", "Found", "Group", "Store"]
