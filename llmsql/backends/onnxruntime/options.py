"""What `RUN command AS LLM` accepts for models that onnxruntime runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmsql import encoders


@dataclass(frozen=True)
class Options(encoders.Options):
    """
    What RUN command AS LLM accepts for this backend; *prompt* is put before each text.

    *quantization* to int8 is done once, and answers less exactly: RUN says by how much. *threads*
    batches run side by side, one for each core unless said. *trust_remote_code* matters while a
    model is converted.
    """

    quantization: Literal["false", "int8"] = "false"
    threads: int | None = None
    trust_remote_code: bool = False

    POSITIVE = (*encoders.Options.POSITIVE, "threads")
