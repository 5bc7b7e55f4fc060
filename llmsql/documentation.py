"""The parts of the documentation that the code says itself, as Markdown.

Called by the cog blocks of README.md, docs/statements.md and udfs/README.md (`make docs`); `make
check` compares. Nothing here depends on the machine or on what is installed.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmsql import backends, config, types
from llmsql.backends.base import Backend
from llmsql.functions import library, wishes
from llmsql.sources import families
from llmsql.statements import backends as backend_statements
from llmsql.statements import classes, terms
from llmsql.statements import keys as run_keys

ROOT = Path(__file__).resolve().parent.parent


def statements() -> str:
    """Every statement and what it does."""
    rows = [(_code(f"{cls.syntax};"), _first_line(cls)) for cls in classes()]
    return _table(("statement", "what it does"), rows)


def keys() -> str:
    """The keys of RUN command AS LLM."""
    rows = []
    for key, about in {**run_keys.OWN, **terms.ABOUT}.items():
        others = [other for other, own in run_keys.OTHER_SPELLINGS.items() if own == key]
        rows.append((_names([key, *others]), about))
    return _table(("key", "meaning"), rows)


def model_types() -> str:
    """The types of local models, and those that name a backend."""
    by_kind: dict[str, list[str]] = {}
    for name, family in families.FAMILIES.items():
        kind = family.kind or (family.purpose and "not supported yet") or "what its files say"
        by_kind.setdefault(kind, []).append(families.PREFIX + name)
    rows = [(_names(types_), kind) for kind, types_ in by_kind.items()]
    for name in backends.names():
        if found := backends.get(name).model_types:
            rows.append((_names(found), f"backend {_code(name)}"))
    return _table(("pretrainedModelType", "the model is for"), rows)


def backend_list() -> str:
    """Every backend, what it runs and how it is installed."""
    rows = []
    for name in backends.names():
        backend = backends.get(name)
        extra = f"duckdb-llmsql[{backend.extra}]" if backend.extra else "duckdb-llmsql"
        kinds = ", ".join(backend.kinds)
        rows.append((_code(name), _first_line(type(backend)), kinds, _code(extra)))
    return _table(("backend", "what it runs", "kinds", "pip install"), rows)


def call_options() -> str:
    """The options of every call of a chat model."""
    return _options(backend_statements.described(types.Sampling))


def backend_options() -> str:
    """Every backend's options, and what a call takes beyond the options of all."""
    return "\n\n".join(f"### `{name}`\n\n{_about(backends.get(name))}" for name in backends.names())


def functions(topic: str = "", folder: str = "") -> str:
    """The library's functions, by topic, or those of one; *folder* is where the topics are."""
    macros = sorted(library.shipped(), key=lambda macro: (macro.path.parent.name, macro.name))
    rows = []
    for macro in macros:
        of = macro.path.parent.name
        link = f"[{_code(macro.name)}]({folder}{of}/{macro.path.name})"
        if of == (topic or of):
            rows.append((link, _code(_on_one_line(macro.signature)), macro.comment))
    return _table(("function", "call", "meaning"), rows)


def settings() -> str:
    """Every setting of `!llm setup`, with its other spellings."""
    default = config.Settings()
    rows = []
    for name, value in default.rows():
        others = [other for other, own in config.ALIASES.items() if own == name.lower()]
        about = config.ABOUT.get(name, "Ray's or Spark's: kept, and has no effect here")
        rows.append((_names([name, *others]), _code(value) if value else "", about))
    rows.append((_code(f"{config.RESOURCE}<name>"), "", "a resource of Ray's: kept, as above"))
    return _table(("setting", "default", "meaning"), rows)


def request_keys() -> str:
    """The keys of a request, and the other names of options."""
    rows = [(_code(key), about) for key, about in wishes.ABOUT.items()]
    by_option: dict[str, list[str]] = {}
    for other, ours in wishes.SPELLINGS.items():
        by_option.setdefault(ours, []).append(other)
    for sampled in dataclasses.fields(types.Sampling):
        others = by_option.get(sampled.name, [])
        rows.append((_names([sampled.name, *others]), "an option of sampling"))
    return _table(("key", "meaning"), rows)


def command_help() -> str:
    """What `llmsql --help` writes."""
    command = [sys.executable, "-m", "llmsql.cli", "-help"]
    wide = {**os.environ, "COLUMNS": "90", "NO_COLOR": "1"}
    done = subprocess.run(command, env=wide, cwd=ROOT, capture_output=True, text=True, check=True)
    return _block(done.stdout, "text")


def example(name: str) -> str:
    """A script of examples/sql and its output, as tests/test_examples.py has compared them."""
    script = (ROOT / "examples" / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    output = (ROOT / "tests" / "examples" / f"{name}.out").read_text(encoding="utf-8")
    return f"{_block(script, 'sql')}\n\n{_block(output, 'text')}"


def examples() -> str:
    """The scripts of examples/sql, each with the first line of its header."""
    rows = []
    for path in sorted((ROOT / "examples" / "sql").glob("*.sql")):
        header = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("-- ")
        rows.append((f"[{path.name}](examples/sql/{path.name})", header))
    return _table(("script", "what it shows"), rows)


def measurements(*words: str) -> str:
    """The lines of benchmarks/RESULTS.md that have one of *words*, as a table."""
    lines = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    head, *rows = (line for line in lines if line.startswith("| "))
    if missing := [word for word in words if not any(word in row for row in rows)]:
        raise LookupError(f"no line of RESULTS.md has {missing}")
    shown = [row for row in rows if any(word in row for word in words)]
    return "\n".join([head, "|---|---|---|", *shown])


def estimates() -> str:
    """What EXPLAIN says of the statement in examples/sql/09_costs_and_caps.sql, below the plan."""
    path = ROOT / "tests" / "examples" / "09_costs_and_caps.out"
    shown = path.read_text(encoding="utf-8").partition("model calls\n")[2].partition("\n\n")[0]
    return f"```text\n…\nmodel calls\n{shown}\n```"


def _about(backend: Backend) -> str:
    parts = [_first_line(type(backend))]
    if backend.model_types:
        parts[0] += f" Chosen by `pretrainedModelType`: {_names(backend.model_types)}."
    if described := backend_statements.described(backend.options):
        parts += _about_options(backend.options)
        parts.append(_options(described, backend.option_prefix if backend.is_remote else ""))
    common = backend_statements.described(types.Sampling)
    own = [
        option for option in backend_statements.described(backend.sampling) if option not in common
    ]
    if own:
        parts.append(f"Options of a call, beyond those that every model takes:\n\n{_options(own)}")
    return "\n\n".join(parts)


def _about_options(options: type) -> list[str]:
    """What *options* say, and those that they are made of, but for what each of these is."""
    made_of = [cls for cls in options.__mro__[1:] if "__dataclass_fields__" in vars(cls)]
    own, *others = (inspect.cleandoc(cls.__doc__ or "") for cls in (options, *made_of))
    return [own, *filter(None, (text.partition("\n\n")[2] for text in others))]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _options(described: Iterable[str], prefix: str = "") -> str:
    """Options, each given as `name type = default`, in a table."""
    rows = []
    for option in described:
        name, _, rest = option.partition(" ")
        kind, _, default = rest.partition(" = ")
        rows.append(
            (_code(prefix + name), kind.replace("|", ", "), _code(default) if default else "")
        )
    return _table(("option", "takes", "default"), rows)


def _first_line(cls: type) -> str:
    text = (cls.__doc__ or "").strip()
    return text.split("\n", 1)[0]


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(_code, names))


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _on_one_line(text: str) -> str:
    return " ".join(text.split()).replace("( ", "(").replace(" )", ")")
