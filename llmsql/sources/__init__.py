"""Where a model's files are, what they are, and whether they are whole; from the files alone.

Owns the way from what the user wrote to a local path, what the user's model type says about it, and
what is said when it leads nowhere. No library that runs models is imported; loading and converting
is `llmsql.torch_models`' business.
"""

from llmsql.sources import adapters, families
from llmsql.sources.adapters import adapted
from llmsql.sources.files import check, kind_of
from llmsql.sources.fingerprint import fingerprint
from llmsql.sources.location import PACKAGED, locate

__all__ = [
    "PACKAGED",
    "adapted",
    "adapters",
    "check",
    "families",
    "fingerprint",
    "kind_of",
    "locate",
]
