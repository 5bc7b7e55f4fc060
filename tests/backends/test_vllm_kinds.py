"""Other models on vLLM: the real MiniLM, a random cross-encoder, and SmolLM2 with an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmsql import backends, sources
from llmsql.types import bare
from tests.installed import require

from .conftest import VLLM, Models, loaded
from .vllm_answers import CITIES, answers

require(*VLLM)
pytestmark = pytest.mark.models


@pytest.mark.xdist_group("vllm emb")
def test_vectors_are_those_of_sentence_transformers(model: Models) -> None:
    """Vectors of texts, long and short, have a cosine of 0.999 and more with the library's own."""
    from sentence_transformers import SentenceTransformer

    texts = ["A cat sat.", "Größe 你好 😀", "", "word " * 900, *CITIES]
    library = SentenceTransformer(sources.locate("minilm"), device="cpu")
    wanted = library.encode(texts, normalize_embeddings=True)
    found = dict(model("vllm emb").embed(texts))
    cosines = [float(bare(found[index]) @ wanted[index]) for index in range(len(texts))]
    assert min(cosines) > 0.999
    assert np.linalg.norm(bare(found[0])) == pytest.approx(1, abs=1e-5)


def test_scores_are_those_of_the_cross_encoder(tmp_path: Path) -> None:
    """A cross-encoder's raw scores are the library's, whichever text is longer."""
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(sources.locate("minilm"))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=128, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(tmp_path)
    pairs = [("a cat", "the cat sat on a mat"), ("where is Rome?", "no"), ("x", "word " * 300)]
    wanted = CrossEncoder(str(tmp_path), device="cpu", max_length=128).predict(
        pairs, activation_fn=__import__("torch").nn.Identity()
    )
    assert backends.get("vllm").kind_of(str(tmp_path), "custom/auto") == "rerank"
    model = loaded("vllm", "rerank", str(tmp_path), dtype="float32")
    found = dict(model.rerank(pairs))
    model.unload()
    assert [bare(found[index]) for index in range(3)] == pytest.approx(wanted.tolist(), abs=1e-3)


def test_an_adapter_answers_as_when_merged(tmp_path: Path) -> None:
    """SmolLM2 with an adapter says what it says after peft has merged the two."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from llmsql.torch_models import conversion

    path = conversion.plain(sources.locate("smollm2"))
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    layers = ["q_proj", "v_proj"]
    tuned = get_peft_model(plain, LoraConfig(r=4, target_modules=layers, init_lora_weights=False))
    tuned.save_pretrained(tmp_path)
    merged = loaded("transformers", "chat", str(tmp_path), base_model=path, dtype="float32")
    wanted = [a.text for a in answers(merged, CITIES[:2], max_tokens=8)]
    merged.unload()
    model = loaded("vllm", "chat", str(tmp_path), base_model=path, dtype="float32", kv_cache_gb=0.5)
    found = [a.text for a in answers(model, CITIES[:2], max_tokens=8)]
    model.unload()
    assert found == wanted
