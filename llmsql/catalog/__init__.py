"""llmsql's own tables in a user's database, and the only code that reads and writes them.

Owns their names and columns, and what is never written: secrets. What a remembered model means, and
when it is loaded, is the runtime's business.
"""

from llmsql.catalog.record import Record
from llmsql.catalog.table import Catalog

__all__ = ["Catalog", "Record"]
