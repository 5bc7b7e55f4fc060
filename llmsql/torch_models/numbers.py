"""What decides in which numbers a model computes, without torch."""

from __future__ import annotations


def deciding_device(dtype: str, device: str) -> str | None:
    """Return the sort of *device* ("cpu", "cuda", "auto") where it chooses *dtype*, else None.

    It only does so for "auto". What "auto" comes to on this machine does not count: finding out
    takes torch seconds to import, and a model that was deployed so was meant to run anywhere.
    """
    return device.partition(":")[0].lower() if dtype == "auto" else None
