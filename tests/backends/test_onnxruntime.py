"""The onnxruntime backend: real weights for vectors, small random ones for what is converted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmsql import backends, sources
from llmsql.backends.onnxruntime import conversion, heads, proof
from llmsql.backends.onnxruntime.proof import Proof
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.statements import fitting
from llmsql.types import ModelSpec
from tests.installed import MINILM, needs

from .conftest import loaded, values
from .encoders import logits, matrix

ROOT = Path(__file__).parents[2]
needs_packages = needs("onnxruntime", "onnxscript", *MINILM)
ODD_TEXTS = [
    "",
    " ",
    "The cat sat on the mat.",
    "a\0b",
    "word " * 2_000,
    "x" * 10_000,
    "Größe, naïve, Ωμέγα, Здравствуй, שלום, مرحبا, 你好, こんにちは",
    *("short text " * length for length in range(1, 60, 5)),
]


@pytest.fixture(scope="session")
def minilm() -> Any:
    """MiniLM, converted once and kept with pytest's cache."""
    return loaded("onnxruntime", "emb", "minilm")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def converted_at(cache: Path) -> list[str]:
    """The names of what is in *cache*, without the locks."""
    return sorted(e.name for e in (cache / "onnx").iterdir() if not e.name.endswith(".lock"))


@pytest.mark.parametrize("name", ["onnxruntime", "onnx", "ONNX", "ray/onnx", "onnx-runtime"])
def test_it_has_two_names(name: str) -> None:
    """infer_backend may call it onnx."""
    found = fitting.named(name, None)
    assert found is not None and found.backend.name == "onnxruntime"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"quantization": "int3"},
            'option "quantization" of backend "onnxruntime" takes one of false, int8, not \'int3\'',
        ),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
        ({"max_length": -1}, "max_length must be 1 or more, not -1"),
    ],
)
def test_options_are_checked(given: dict[str, Any], message: str) -> None:
    """What it cannot do is refused when the options are read."""
    backend = backends.get("onnxruntime")
    with pytest.raises(OptionError) as error:
        backend.options_of(ModelSpec("m", "emb", backend.name, options=given))
    assert str(error.value) == message


def test_it_is_found_without_its_libraries() -> None:
    """Naming it, its options and whether it volunteers imports nothing heavy."""
    code = (
        "import sys; from llmsql import backends; b = backends.get('onnxruntime'); b.options();"
        "b.volunteers('nowhere', {});"
        "assert not {'torch', 'onnxruntime', 'onnx', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for it without its libraries is told what to install."""
    backend = backends.get("onnxruntime")
    monkeypatch.setattr(type(backend), "modules", ("onnxruntime_that_is_not",))
    with pytest.raises(BackendError) as error:
        backend.require()
    assert str(error.value) == (
        'backend "onnxruntime" needs onnxruntime_that_is_not, not installed here\n'
        "  pip install 'duckdb-llmsql[onnx]'"
    )


def test_a_file_is_no_encoder(tmp_path: Path) -> None:
    """A GGUF file is refused in words, not as a path below it that cannot be opened."""
    from llmsql.backends.onnxruntime.description import describe

    (tmp_path / "small.gguf").touch()
    with pytest.raises(BackendError, match='is a file, and backend "onnxruntime" runs'):
        describe(str(tmp_path / "small.gguf"))


@needs_packages
@pytest.mark.models
def test_a_missing_converter_names_the_extras(
    tiny: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only needed to convert is asked for when there is something to convert."""
    path = tiny()
    monkeypatch.setattr(conversion, "_CONVERTERS", ("torch", "onnxscript_that_is_not"))
    with pytest.raises(BackendError) as error:
        loaded("onnxruntime", "emb", str(path))
    assert str(error.value) == (
        f'"{path}" has no onnx/model.onnx, and converting it needs onnxscript_that_is_not, '
        "not installed here\n  pip install 'duckdb-llmsql[onnx,sentence_transformers]'"
    )
    assert converted_at(cache) == []


@needs_packages
@pytest.mark.models
def test_vectors_are_those_of_sentence_transformers(minilm: Any) -> None:
    """Whatever the text and its neighbours, the vector is the one that encode gives it alone."""
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(sources.locate("minilm"), device="cpu")
    expected = library.encode(ODD_TEXTS, batch_size=1, normalize_embeddings=True)
    found = matrix(minilm, ODD_TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(ODD_TEXTS), minilm.dimension)
    assert np.einsum("ij,ij->i", found, expected).min() >= 1 - 1e-5
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5


@needs_packages
@pytest.mark.models
def test_batches_have_little_padding(minilm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tokens that are computed, three in a hundred at most are padding."""
    texts = [f"number {i} " + "of many words " * (i % 40) for i in range(2000)]
    seen: list[tuple[int, int, int]] = []
    run = minilm.engine.run

    def watched(batch: Any) -> np.ndarray:
        sizes = [len(encoding) for encoding in batch]
        seen.append((len(sizes), max(sizes), sum(sizes)))
        return np.ones((len(sizes), 384), dtype=np.float32)

    monkeypatch.setattr(minilm.engine, "run", watched)
    matrix(minilm, texts)
    monkeypatch.setattr(minilm.engine, "run", run)
    assert max(count * width for count, width, _ in seen) <= minilm.batch_tokens
    computed = sum(count * width for count, width, _ in seen)
    assert computed <= 1.03 * sum(tokens for *_, tokens in seen)
    assert sum(minilm.count_tokens(texts)) == sum(tokens for *_, tokens in seen)


@needs_packages
@pytest.mark.models
@pytest.mark.parametrize("mode", heads.POOLS)
def test_poolings_are_those_of_the_library(mode: str) -> None:
    """Each pooling makes of states and a mask what sentence-transformers makes of them."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling

    states = np.random.default_rng(1).normal(size=(3, 5, 8)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=np.float32)
    given = {"token_embeddings": torch.tensor(states), "attention_mask": torch.tensor(mask).long()}
    expected = Pooling(8, pooling_mode=mode)(given)["sentence_embedding"].numpy()
    assert np.allclose(heads.POOLS[mode](states, mask), expected, atol=1e-6)


@needs_packages
@pytest.mark.models
def test_modules_are_followed(tiny: Callable[..., Path], tmp_path: Path, cache: Path) -> None:
    """Two poolings, a dense layer and a prompt do what they do in sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    torch.manual_seed(3)
    first = Transformer(str(tiny()), max_seq_length=16)
    modules = [first, Pooling(32, pooling_mode=("cls", "max")), Dense(64, 24)]
    whole = SentenceTransformer(modules=modules, prompts={"query": "find: "}, device="cpu")
    whole.save(str(tmp_path / "whole"))
    texts = ["cats", "a longer text " * 9, ""]
    expected = whole.encode(texts, batch_size=1, normalize_embeddings=False)
    path = str(tmp_path / "whole")
    model = loaded("onnxruntime", "emb", path, normalize=False)
    assert model.meta()["max_model_len"] == 16
    assert np.allclose(matrix(model, texts), expected, atol=1e-4)
    prompted = loaded("onnxruntime", "emb", path, normalize=False, prompt_name="query")
    assert np.allclose(matrix(prompted, ["cats"]), matrix(model, ["find: cats"]))


@needs_packages
@pytest.mark.models
def test_a_cross_encoder_gives_raw_scores(tiny: Callable[..., Path], cache: Path) -> None:
    """Scores are the logits of the classifier, in any batch: below 0 and above 1 as well."""
    place = tiny("BertForSequenceClassification", num_labels=1)
    model = loaded("onnxruntime", "rerank", str(place))
    pairs = [("cats", "cats purr " * n) for n in range(1, 30)] + [("", ""), ("a\0b", "ÄÖ")]
    expected = logits(place, pairs)
    found = values(model.rerank(pairs))
    assert np.allclose([found[i] for i in range(len(pairs))], expected, atol=1e-4)
    assert not all(0 <= score <= 1 for score in expected)
    assert model.note == ""
    with pytest.raises(BackendError, match="\n  deploy it with kind='rerank'"):
        loaded("onnxruntime", "emb", str(place))


@needs_packages
@pytest.mark.models
def test_an_embedding_model_ranks_by_cosine(minilm: Any) -> None:
    """A score is the cosine of the two vectors, and whoever deploys it is told."""
    ranker = loaded("onnxruntime", "rerank", "minilm")
    cats, dogs = matrix(minilm, ["cats", "dogs"])
    scores = values(ranker.rerank([("cats", "dogs"), ("dogs", "cats"), ("cats", "cats")]))
    assert [scores[i] for i in range(3)] == pytest.approx([cats @ dogs, cats @ dogs, 1], abs=1e-5)
    assert "cosine similarities: this is an embedding model" in ranker.note


@needs_packages
@pytest.mark.models
def test_what_was_converted_runs_without_torch(minilm: Any) -> None:
    """Once there is a file, neither torch nor transformers is imported."""
    code = (
        "import sys; from tests.backends.conftest import loaded;"
        "model = loaded('onnxruntime', 'emb', 'minilm'); print(len(list(model.embed(['a']))));"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


@needs_packages
@pytest.mark.models
def test_converting_is_silent(
    tiny: Callable[..., Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the converter's progress nor its warnings reach the user's screen."""
    path = tiny()
    capfd.readouterr()  # saving is not
    loaded("onnxruntime", "emb", str(path), quantization="int8")
    assert capfd.readouterr() == ("", "")
    assert len(converted_at(cache)) == 2


@needs_packages
@pytest.mark.models
def test_the_directorys_own_file_is_used(
    tiny: Callable[..., Path], tmp_path: Path, cache: Path
) -> None:
    """A directory with onnx/model.onnx is not converted, and answers as if it had been."""
    path = tiny()
    expected = matrix(loaded("onnxruntime", "emb", str(path)), ODD_TEXTS)
    own = shutil.copytree(path, tmp_path / "own")
    shutil.copytree(conversion.place(str(path)), own / "onnx")
    assert np.allclose(matrix(loaded("onnxruntime", "emb", str(own)), ODD_TEXTS), expected)
    assert not (conversion.place(str(own)) / conversion.FILE).exists()
    known = conversion.proven(str(own))
    assert known is not None and known.difference < proof.EQUAL
    (own / "onnx" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BackendError) as error:
        loaded("onnxruntime", "emb", str(own))
    file = own / "onnx" / "model.onnx"
    assert str(error.value).startswith(f'onnxruntime cannot read "{file}": ')
    assert str(error.value).endswith(
        "\n  copy the model again, or delete the file: it is made anew"
    )


@needs_packages
@pytest.mark.models
def test_the_file_may_be_all_there_is(minilm: Any, tmp_path: Path) -> None:
    """A directory without torch's weights cannot be compared, and runs all the same."""
    place = shutil.copytree(sources.locate("minilm"), tmp_path / "alone")
    (place / "model.safetensors").unlink()
    shutil.copytree(conversion.place(sources.locate("minilm")), place / "onnx")
    model = loaded("onnxruntime", "emb", str(place))
    assert np.allclose(matrix(model, ["a", "b c"]), matrix(minilm, ["a", "b c"]), atol=1e-6)
    assert conversion.proven(str(place)) is None


@needs_packages
@pytest.mark.models
def test_int8_says_how_exact_it_is(minilm: Any) -> None:
    """Quantized vectors are near the others, and the deployer is told how near."""
    small = loaded("onnxruntime", "emb", "minilm", quantization="int8")
    cosines = (matrix(small, ODD_TEXTS) * matrix(minilm, ODD_TEXTS)).sum(axis=1)
    assert 0.9 < cosines.min() < 1 - proof.EQUAL
    words = r"answers differ from those of sentence_transformers by up to 0\.\d+"
    assert re.fullmatch(words, small.note)
    assert minilm.note == ""


@needs_packages
@pytest.mark.models
def test_a_conversion_that_changes_answers_is_refused(
    tiny: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers otherwise than the model it was made of is not kept."""
    path = tiny()
    write = conversion._write

    def spoilt(engine: Any, target: Path) -> None:
        engine[0].model.embeddings.word_embeddings.weight.data.mul_(3)
        write(engine, target)

    monkeypatch.setattr(conversion, "_write", spoilt)
    with pytest.raises(BackendError) as error:
        loaded("onnxruntime", "emb", str(path))
    assert re.fullmatch(
        f'"{path}" answers differently once it is converted, by [0-9.]+\n'
        "  set infer_backend='sentence_transformers'",
        str(error.value),
    )
    assert converted_at(cache) == []


@needs_packages
@pytest.mark.models
def test_it_is_chosen_where_it_was_seen_to_be_better(
    tiny: Callable[..., Path], cache: Path
) -> None:
    """Equal and faster is chosen; slower, different, unknown, or with an option it lacks, not."""
    path = str(tiny())

    def chosen(wished: str | None = None, **said: Any) -> str:
        return fitting.best("emb", "emb", wished, "directory", path, said).backend.name

    assert chosen() == "sentence_transformers"
    place = conversion.place(path)
    place.mkdir(parents=True)
    proof.write(place, Proof(difference=1e-5, seconds=1.0, other_seconds=2.0))
    assert chosen() == chosen(**{"backend.Normalize": "false"}) == "onnxruntime"
    assert chosen(dtype="bfloat16") == chosen(device="cuda:0") == "sentence_transformers"
    assert chosen("sentence-transformers") == "sentence_transformers"
    for worse in (Proof(2e-4, 1.0, 2.0), Proof(1e-5, 2.0, 1.9), Proof(float("nan"), 1.0, 2.0)):
        proof.write(place, worse)
        assert chosen() == "sentence_transformers"
        assert chosen("onnx") == "onnxruntime"


@needs_packages
@pytest.mark.models
def test_a_row_that_breaks_its_batch_fails_alone(
    minilm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours are answered as ever."""
    texts = ["one", "two", "three three three", "four"]
    expected = matrix(minilm, texts)
    run = minilm.engine.run

    def limited(batch: Any) -> Any:
        if max(map(len, batch)) > 4:
            raise RuntimeError("Failed to allocate memory\nmore")
        return run(batch)

    monkeypatch.setattr(minilm.engine, "run", limited)
    found = values(minilm.embed(texts))
    assert isinstance(found[2], GenerationError)
    assert str(found[2]) == "a text of 5 tokens: Failed to allocate memory"
    assert all(np.allclose(found[i], expected[i], atol=1e-6) for i in (0, 1, 3))


@needs_packages
@pytest.mark.models
def test_max_length_leaves_room_for_a_text(minilm: Any) -> None:
    """A length that the model's own tokens fill is refused when it is deployed."""
    with pytest.raises(OptionError, match="max_length is 2, but the model puts 2 tokens of its"):
        loaded("onnxruntime", "emb", "minilm", max_length=2)


@needs_packages
@pytest.mark.models
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("modules.json", 'is the module "LSTM", which backend "onnxruntime" does not know'),
        ("1_Pooling/config.json", 'is the pooling "median", which backend "onnxruntime" does not'),
        ("tokenizer.json", "tokenizers cannot read "),
        ("no tokenizer", "has no tokenizer.json\n  set infer_backend='sentence_transformers'"),
    ],
)
def test_what_is_not_known_is_refused(
    minilm: Any, tmp_path: Path, broken: str, message: str
) -> None:
    """A module, a pooling or a tokenizer that it cannot take is named."""
    place = shutil.copytree(sources.locate("minilm"), tmp_path / "broken")
    shutil.copytree(conversion.place(sources.locate("minilm")), place / "onnx")
    text = {
        "modules.json": '[{"type": "x.Transformer", "path": ""}, {"type": "x.LSTM", "path": "1"}]',
        "1_Pooling/config.json": '{"pooling_mode": "median"}',
        "tokenizer.json": '{"version": "1.0", "trunc',
    }
    if broken in text:
        (place / broken).write_text(text[broken])
    else:
        (place / "tokenizer.json").unlink()
    with pytest.raises(BackendError, match=re.escape(message)):
        loaded("onnxruntime", "emb", str(place))


_CONVERT = """
import resource, sys, time
from pathlib import Path
from tests.backends.conftest import loaded
from llmsql.errors import BackendError
path, go, limit = sys.argv[1:]
import torch, sentence_transformers, onnxscript
print("ready", flush=True)
sys.stdin.readline()
if limit != "none":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    model = loaded("onnxruntime", "emb", path)
    print(len(list(model.embed(["a", "b"]))))
except BackendError as error:
    print(error)
"""


def converting(path: Path, cache: Path, limit: str = "none") -> subprocess.Popen[str]:
    """Start a process that converts *path* once it is told to, into *cache*."""
    return subprocess.Popen(
        [sys.executable, "-c", _CONVERT, str(path), "go", limit],
        env={**os.environ, "LLMSQL_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_packages
@pytest.mark.models
def test_two_processes_convert_once(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Two processes that need the same file at once end with one, and both answer."""
    path, cache = tiny(), tmp_path / "cache"
    processes = [converting(path, cache) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    outputs = [process.communicate("\n", timeout=300) for process in processes]
    assert [out for out, _ in outputs] == ["2\n", "2\n"], outputs
    assert len(converted_at(cache)) == 1


@needs_packages
@pytest.mark.models
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is tested on Linux")
def test_a_full_disk_leaves_nothing_behind(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Where the file cannot be written whole, the reason is told, and no part of it stays."""
    path, cache = tiny(), tmp_path / "cache"
    process = converting(path, cache, "100000")
    said, errors = process.communicate("\n", timeout=300)
    start = f'ready\ncannot keep "{path}" converted in {cache / "onnx"}: '
    assert said.startswith(start), errors
    assert said.endswith("\n  set LLMSQL_CACHE to a directory with room\n")
    assert converted_at(cache) == []


def test_a_conversion_is_compared_in_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16, which "auto" may be, differs by more than a good conversion does."""
    given: dict[str, Any] = {}

    def reference(path: str, **options: Any) -> Any:
        given.update(options)
        raise LookupError

    monkeypatch.setattr(proof, "reference", reference)
    with pytest.raises(LookupError):
        proof.compared(None, "x", is_cross=False, trust_remote_code=False)  # type: ignore[arg-type]
    assert (given["dtype"], given["device"]) == ("float32", "cpu")
