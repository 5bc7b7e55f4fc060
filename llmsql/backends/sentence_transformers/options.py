"""What `RUN command AS LLM` accepts for models of sentence-transformers."""

from __future__ import annotations

from dataclasses import dataclass

from llmsql import encoders
from llmsql.torch_models.numbers import Dtype


@dataclass(frozen=True)
class Options(encoders.Options):
    """What RUN command AS LLM accepts for this backend; *prompt* is put before each text."""

    dtype: Dtype = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
