"""DeepSpeed's log, which goes to standard output unless somebody looks after it.

transformers imports DeepSpeed by itself where it is installed, so this is not its backend's alone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = "DeepSpeed"


@contextmanager
def on_stderr() -> Iterator[None]:
    """Let DeepSpeed be imported inside: its log goes to stderr, unless it was imported before."""
    if "deepspeed" in sys.modules:
        yield
        return
    log = logging.getLogger(LOGGER)
    log.disabled = True  # the handler that comes with the import writes to stdout
    try:
        yield
    finally:
        log.disabled = False
        for handler in log.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
