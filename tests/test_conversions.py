"""Where converted models are kept, and what is said when they cannot be."""

from __future__ import annotations

import errno

import pytest

from llmsql.sources import conversions


def wrapped(cause: BaseException) -> Exception:
    """An error of a library's that was raised because of *cause*."""
    error = RuntimeError("cannot write")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        wrapped(OSError(errno.EFBIG, "File too large")),
        RuntimeError(f"I/O error: Disk quota exceeded (os error {errno.EDQUOT})"),
    ],
)
def test_a_full_disk_is_recognised_in_what_libraries_raise(error):
    assert isinstance(conversions.full_disk(error), OSError)


@pytest.mark.parametrize("error", [ValueError("broken"), wrapped(OSError(errno.ENOENT, "gone"))])
def test_other_errors_are_no_full_disk(error):
    assert conversions.full_disk(error) is None
