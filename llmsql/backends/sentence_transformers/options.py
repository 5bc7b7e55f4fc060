"""What `RUN command AS LLM` accepts for models of sentence-transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmsql import encoders


@dataclass(frozen=True)
class Options(encoders.Options):
    """What RUN command AS LLM accepts for this backend; *prompt* is put before each text."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
