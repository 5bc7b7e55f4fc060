"""Where a model's files are, what they are, and whether they are whole; from the files alone.

Owns the way from what the user wrote to a local path, and what is said when it leads nowhere. No
library that runs models is imported; loading and converting is `llmsql.torch_models`' business.
"""

from llmsql.sources.files import check, kind_of
from llmsql.sources.location import PACKAGED, locate

__all__ = ["PACKAGED", "check", "kind_of", "locate"]
