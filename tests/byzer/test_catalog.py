"""What a database file remembers of its deployments, and reconnect='true': items R01, C08."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql import backends, errors
from llmsql.backends.base import Model
from llmsql.backends.base.hosted import Hosted
from llmsql.backends.transformers.options import Options
from llmsql.catalog import Record
from llmsql.catalog.secrets import is_secret
from llmsql.replicas.replicated import Replicated
from llmsql.runtime.lazy import LazyModel
from llmsql.types import ModelSpec, read_options
from tests import openai_api
from tests.byzer.test_settings import KEY, loads
from tests.installed import MINILM, require
from tests.servers import Reply, Request, Server

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='{}' AND kind='{}'"
RECONNECT = "RUN command AS LLM WHERE action='infer' AND reconnect='true' AND udfName='{}'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "some.duckdb"


def deployed(file: Path, *statements: str) -> None:
    """Run *statements* in the database at *file*, and close it."""
    with llmsql.connect(str(file)) as con:
        for statement in statements:
            con.execute(statement)


def elsewhere(file: Path, code: str) -> str:
    """What a new process prints that has the database open as `con`."""
    program = f"import llmsql, sys\ncon = llmsql.connect({str(file)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def is_loaded(con: Any, name: str = "chat") -> bool:
    """What `!llm model list` says of a model."""
    rows = con.execute("!llm model list")
    names = [column[0] for column in rows.description]
    return next(row[names.index("is_loaded")] for row in rows.fetchall() if row[0] == name)


def bytes_of(file: Path) -> bytes:
    """Everything that is written of a database: its file and its log."""
    return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))


def with_key(request: Request) -> Reply:
    """The server of the tests, which wants the key."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return Reply({"error": {"message": "no key", "code": "invalid_api_key"}}, 401)
    return openai_api.answer(request)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers whoever has the key."""
    require("aiohttp")
    with Server(with_key) as server:
        yield server


def remote(server: Server, key: str = f" AND saas.api_key='{KEY}'") -> str:
    """A RUN that deploys the server's model as `chat`."""
    return (
        "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='chat'"
        f" AND saas.base_url='{server.url}/v1' AND saas.model='echo'{key}"
    )


def test_R01_reopened_in_another_process_it_answers_without_a_run(file: Path) -> None:
    """All kinds of models are there, with their options and the type they return."""
    deployed(
        file,
        DEPLOY.format("chat", "chat") + " AND gen.max_tokens='5'",
        DEPLOY.format("emb", "emb") + " AND dimension='3'",
        DEPLOY.format("score", "rerank"),
    )
    printed = elsewhere(
        file,
        "print('torch' in sys.modules)\n"
        "print([row[-1] for row in con.execute('!llm model list').fetchall()])\n"
        "print(con.execute(\"SELECT chat('a b'), len(emb('x')), score('a', 'a')\").fetchall())\n"
        "print([row[-1] for row in con.execute('!llm model list').fetchall()])",
    )
    assert printed.splitlines() == [
        "False",
        "[False, False, False]",
        "[('a b', 3, 1.0)]",
        "[True, True, True]",
    ]


@pytest.mark.models
def test_R01_a_real_model_answers_in_another_process(file: Path) -> None:
    """MiniLM is loaded at the first call of a process that never saw a RUN."""
    require(*MINILM)
    deployed(file, "RUN command AS LLM WHERE localModelDir='minilm' AND udfName='emb'")
    printed = elsewhere(
        file,
        "print('torch' in sys.modules)\n"
        "near = \"SELECT array_cosine_similarity(emb('a cat'), emb('a kitten')) > 0.5\"\n"
        "print(con.execute(near).fetchall())",
    )
    assert printed.splitlines() == ["False", "[(True,)]"]


@pytest.mark.parametrize(
    "statement",
    [
        "EXPLAIN SELECT chat('x')",
        "EXPLAIN SELECT chat(s) FROM t",
        "DESCRIBE SELECT chat('x'), emb('y')",
        "SELECT count(*) FROM t",
        "CREATE VIEW v AS SELECT chat(s) AS a, emb(s) AS b FROM t",
    ],
)
def test_R01_what_calls_no_model_loads_none(file: Path, statement: str) -> None:
    """A statement is bound, explained and described without loading."""
    deployed(file, DEPLOY.format("chat", "chat"), DEPLOY.format("emb", "emb"))
    with llmsql.connect(str(file)) as con:
        con.execute("CREATE TABLE t AS SELECT 'x' AS s")
        con.execute(statement).fetchall()
        assert not is_loaded(con, "chat")
        assert not is_loaded(con, "emb")


def test_R01_several_connections_load_it_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls while it loads waits for the same model."""
    deployed(file, DEPLOY.format("chat", "chat"))
    loaded = loads(monkeypatch, lambda: time.sleep(0.3))
    with llmsql.connect(str(file)) as one, llmsql.connect(str(file)) as two:
        answers: list[Any] = []

        def ask(con: Any, text: str) -> None:
            answers.extend(con.execute(f"SELECT chat('{text}')").fetchall())

        cons = [one, two, one.cursor(), two.cursor()]
        threads = [
            threading.Thread(target=ask, args=(con, str(number))) for number, con in enumerate(cons)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(answers) == [("0",), ("1",), ("2",), ("3",)]
    assert loaded == ["chat"]


def test_R01_it_loads_in_its_own_thread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a model to load can be interrupted: it loads elsewhere."""
    deployed(file, DEPLOY.format("chat", "chat"))
    names: list[str] = []
    loads(monkeypatch, lambda: names.append(threading.current_thread().name))
    with llmsql.connect(str(file)) as con:
        con.execute("SELECT chat('x')").fetchall()
    assert names == ["llmsql-chat"]


def test_R01_a_failure_to_load_is_raised_and_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call raises the reason, whatever it is; the next call loads."""
    deployed(file, DEPLOY.format("chat", "chat"))
    failures = [RuntimeError("the disk is on fire")]

    def work() -> None:
        if failures:
            raise failures.pop()

    loaded = loads(monkeypatch, work)
    with llmsql.connect(str(file)) as con:
        with pytest.raises(
            errors.BackendError,
            match='^model "chat" cannot be loaded: RuntimeError: the disk is on fire$',
        ):
            con.execute("SELECT chat(i::VARCHAR) FROM range(20) r(i)").fetchall()
        assert not is_loaded(con)
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]
    assert loaded == ["chat"]


def test_R01_vectors_of_another_length_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that changed on disk does not return what its function's type denies."""
    deployed(file, DEPLOY.format("emb", "emb") + " AND dimension='3'")
    with duckdb.connect(str(file)) as plain:
        plain.execute("UPDATE llmsql.deployments SET options = '{\"dimension\": 4}'")
    with llmsql.connect(str(file)) as con:
        with pytest.raises(errors.BackendError, match="makes vectors of 4 numbers now, not of 3"):
            con.execute("SELECT emb('x')").fetchall()
        con.execute("!llm model reload emb")
        assert con.execute("SELECT typeof(emb('x'))").fetchall() == [("FLOAT[4]",)]
    assert elsewhere(file, "print(con.execute(\"SELECT typeof(emb('x'))\").fetchall())") == (
        "[('FLOAT[4]',)]\n"
    )


def test_R01_the_key_is_never_written(file: Path, server: Server) -> None:
    """Neither the file nor its log holds the key, before and after closing."""
    con = llmsql.connect(str(file))
    con.execute(remote(server))
    assert con.execute("SELECT chat('x')").fetchall() == [("x",)]
    assert b"echo" in bytes_of(file)
    assert KEY.encode() not in bytes_of(file)
    con.execute("CHECKPOINT")
    con.close()
    assert KEY.encode() not in bytes_of(file)


@pytest.mark.parametrize("key", ["", " AND saas.api_key='${env:SOME_VARIABLE}'"])
def test_R01_a_remote_model_takes_its_key_from_the_environment(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A reopened database needs no RUN where the environment has the key, as RUN would not.

    White space around the key is not part of it.
    """
    for name in ("OPENAI_API_KEY", "SOME_VARIABLE"):
        monkeypatch.setenv(name, KEY + "\n")
    if "${" in key:
        monkeypatch.delenv("OPENAI_API_KEY")
    deployed(file, remote(server, key))
    with llmsql.connect(str(file)) as con:
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_R01_a_variable_that_holds_no_key_is_named(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Nobody is asked then."""
    if value is not None:
        monkeypatch.setenv("NO_KEY", value)
    asked = len(server.requests)
    with pytest.raises(errors.BackendError) as caught:
        deployed(file, remote(server, " AND saas.api_key='${env:NO_KEY}'"))
    assert str(caught.value).splitlines() == [
        'saas.api_key names the environment variable "NO_KEY", which is not set or empty',
        "  set it before starting, or write the value",
    ]
    assert len(server.requests) == asked


def test_R01_a_strangers_database_sends_no_key_of_the_environment(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where this user never sent it, he is asked; what he allows once stays allowed."""
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "his"))
    call = "print(con.execute(\"SELECT chat('{}')\").fetchall())"
    deployed(file, remote(server, " AND saas.api_key='${env:SOME_VARIABLE}'"))
    assert elsewhere(file, call.format("x")) == "[('x',)]\n"
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "hers"))
    asked = len(server.requests)
    refused = """
from llmsql.errors import BackendError
try:
    con.execute("SELECT chat('y')").fetchall()
except BackendError as error:
    print(error)
"""
    assert elsewhere(file, refused).splitlines() == [
        f'model "chat" would send the key in $SOME_VARIABLE to {server.url}, where you never sent it',
        "  if you trust whoever deployed it, allow it:",
        "  RUN command AS LLM WHERE udfName='chat' AND reconnect='true'",
    ]
    assert len(server.requests) == asked
    assert elsewhere(file, f"con.execute({RECONNECT.format('chat')!r})") == ""
    assert elsewhere(file, call.format("z")) == "[('z',)]\n"


def test_R01_only_what_was_sent_may_be_sent(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a deployment without a key nor `reload` speaks for a key that comes later."""
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "new"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server(openai_api.answer) as open_to_all:
        deployed(file, remote(open_to_all, ""), "!llm model reload chat")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with (
            llmsql.connect(str(file)) as con,
            pytest.raises(errors.BackendError, match="where you never sent it"),
        ):
            con.execute("SELECT chat('x')").fetchall()
        assert not any("authorization" in each.headers for each in open_to_all.requests)


def test_R01_a_consent_that_cannot_be_kept_is_said(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next process would ask again, and nobody knew why."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    with pytest.warns(errors.LlmsqlWarning, match="where keys may be sent cannot be kept in"):
        deployed(file, remote(server, " AND saas.api_key='${env:SOME_VARIABLE}'"))


def test_R01_what_is_sent_is_sent_by_one_way_to_one_place() -> None:
    """OpenAI's own key for OpenAI is nobody's surprise; a written key is no variable's."""
    backend = backends.get("openai")

    def sent(**options: str) -> list[tuple[str, ...]]:
        given = read_options(backend.options, options, owner="it")
        return list(map(tuple, backend.discloses(ModelSpec("m", "chat", "openai", options=given))))

    assert sent() == sent(api_key="sk-written", base_url="https://x.org") == []
    assert sent(base_url="https://API.openai.com") == []
    assert sent(base_url="https://X.org/v1/") == [("OPENAI_API_KEY", "https://x.org")]
    assert sent(api_key="${env:MINE}") == [("MINE", "https://api.openai.com")]
    assert sent(base_url="https://me:word@x.org/v1") == []
    assert sent(proxies="http://me:word@y.org") == [
        ("OPENAI_API_KEY", "https://api.openai.com by http://y.org")
    ]


def test_R01_another_key_is_not_taken_for_the_one_that_was_given(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model deployed with a key of its own is not asked with the environment's."""
    deployed(file, remote(server))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    asked = len(server.requests)
    with (
        llmsql.connect(str(file)) as con,
        pytest.raises(errors.BackendError, match="saas.api_key of model .* was not kept"),
    ):
        con.execute("SELECT chat('x')").fetchall()
    assert len(server.requests) == asked


def test_R01_code_of_a_model_is_not_run_by_opening_a_file() -> None:
    """Whoever opens a database allows trust_remote_code again, or the model is not loaded."""
    spec = ModelSpec("chat", "chat", "transformers", options=Options(trust_remote_code=True))
    record = Record.of(spec, None)
    assert record.withheld == ("trust_remote_code",)
    assert "trust_remote_code" not in record.options


def test_R01_a_missing_key_is_named_and_reconnect_takes_it(file: Path, server: Server) -> None:
    """The first call says which key to give and how; given, the model answers, unwritten."""
    deployed(file, remote(server))
    with llmsql.connect(str(file)) as con:
        with pytest.raises(errors.BackendError) as raised:
            con.execute("SELECT chat('x')").fetchall()
        assert str(raised.value).splitlines()[-2:] == [
            '  saas.api_key of model "chat" was not kept in the database; give it again:',
            "  RUN command AS LLM WHERE udfName='chat' AND reconnect='true' AND saas.api_key='…'",
        ]
        con.execute(
            RECONNECT.format("chat")
            + f" AND pretrainedModelType='saas/*' AND saas.api_key='{KEY}' AND num_gpus='0'"
        )
        assert not is_loaded(con)
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]
    assert KEY.encode() not in bytes_of(file)
    with llmsql.connect(str(file)) as con:
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]  # known, so not asked
        with pytest.raises(errors.BackendError, match="saas.api_key='…'"):
            con.execute("SELECT chat('y')").fetchall()


def test_R01_reconnect_offers_what_is_deployed(con: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of a deployed model is returned, and nothing is loaded, also without a file."""
    con.execute(DEPLOY.format("chat", "chat"))
    loaded = loads(monkeypatch, lambda: None)
    rows = con.execute(RECONNECT.format("chat") + " AND pretrainedModelType='saas/*' AS t")
    assert rows.fetchall()[0][:3] == ("chat", "chat", "echo")
    assert con.execute("SELECT name, chat('x') FROM t").fetchall() == [("chat", "x")]
    assert loaded == []


def test_R01_reconnect_merges_options_over_the_remembered(file: Path) -> None:
    """Options are checked and put over the old ones, and remembered as well."""
    deployed(file, DEPLOY.format("chat", "chat") + " AND gen.max_tokens='3' AND delay='0.01'")
    with llmsql.connect(str(file)) as con:
        con.execute(RECONNECT.format("chat") + " AND fail_on='bad'")
        con.execute(RECONNECT.format("chat") + " AND gen.stop='c'")
        with pytest.raises(
            errors.OptionError, match='has no option "fail_one"; did you mean "fail_on"'
        ):
            con.execute(RECONNECT.format("chat") + " AND fail_one='bad'")
    ((options, defaults),) = duckdb.execute(
        f"ATTACH '{file}' AS other (READ_ONLY); SELECT options, defaults FROM other.llmsql.deployments"
    ).fetchall()
    duckdb.execute("DETACH other")
    assert options == '{"delay": 0.01, "fail_on": "bad"}'
    assert defaults == '{"max_tokens": "3", "stop": "c"}'
    assert elsewhere(file, "print(con.execute(\"SELECT chat('a b c d')\").fetchall())") == (
        "[('a b ',)]\n"
    )


def test_R01_reconnect_keeps_a_loaded_model_where_only_calls_change(con: Any) -> None:
    """What every call is to have needs no loading again."""
    con.execute(DEPLOY.format("chat", "chat"))
    con.execute(RECONNECT.format("chat") + " AND gen.stop='b'")
    assert is_loaded(con)
    assert con.execute("SELECT chat('a b')").fetchall() == [("a ",)]


def test_R01_reconnect_to_nothing_names_what_is(con: Any) -> None:
    """An unknown name is an error with the nearest, and with every name there is."""
    con.execute(DEPLOY.format("chat", "chat"))
    with pytest.raises(errors.CatalogError) as raised:
        con.execute(RECONNECT.format("chatt"))
    assert str(raised.value) == (
        'there is no model "chatt" to reconnect to; did you mean "chat"?\n'
        "  models: chat\n"
        "  without reconnect='true' it is deployed"
    )
    with pytest.raises(errors.StatementError, match="^a model needs a name"):
        con.execute("RUN command AS LLM WHERE reconnect='true'")
    with pytest.raises(
        errors.OptionError, match='^option "reconnect" takes true or false, not "ja"$'
    ):
        con.execute("RUN command AS LLM WHERE reconnect='ja' AND udfName='chat'")


def test_C08_a_removed_model_is_forgotten(file: Path) -> None:
    """It is not there when the database is opened again; the others are."""
    deployed(file, DEPLOY.format("a", "chat"), DEPLOY.format("b", "chat"), "!llm model remove A")
    with llmsql.connect(str(file)) as con:
        assert [row[0] for row in con.execute("!llm model list").fetchall()] == ["b"]


def test_R01_the_last_deployment_of_a_name_is_remembered(file: Path) -> None:
    """There is one row a name, whatever its letter case."""
    with pytest.warns(errors.LlmsqlWarning, match='"M" was of kind chat, and is of kind emb now'):
        deployed(file, DEPLOY.format("m", "chat"), DEPLOY.format("M", "emb"))
    with llmsql.connect(str(file)) as con:
        assert con.execute("SELECT name, kind FROM llmsql.deployments").fetchall() == [("M", "emb")]


def test_R01_in_memory_nothing_is_kept(con: Any) -> None:
    """A database in memory gets no table of ours."""
    con.execute(DEPLOY.format("chat", "chat"))
    assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'llmsql'"
                       ).fetchall() == [(0,)]  # fmt: skip


def test_R01_a_file_without_models_stays_as_it_was(file: Path) -> None:
    """Opening a database with llmsql writes nothing into it."""
    deployed(file, "CREATE TABLE t AS SELECT 1 AS a", "SELECT * FROM t")
    with duckdb.connect(str(file)) as plain:
        assert plain.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall() == [
            ("main", "t")
        ]


def test_R01_a_database_called_llmsql_remembers_too(tmp_path: Path) -> None:
    """The schema's name is no trouble where the database has it as well."""
    file = tmp_path / "llmsql.duckdb"
    deployed(file, DEPLOY.format("chat", "chat"))
    with llmsql.connect(str(file)) as con:
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]


def test_R01_a_read_only_database_is_read(file: Path) -> None:
    """Its models answer; what is deployed there, or removed, is so until it closes."""
    deployed(file, DEPLOY.format("chat", "chat"))
    before = bytes_of(file)
    with llmsql.connect(str(file), read_only=True) as con:
        assert con.execute("SELECT chat('x')").fetchall() == [("x",)]
        con.execute(DEPLOY.format("more", "chat"))
        assert con.execute("SELECT more('x')").fetchall() == [("x",)]
        with pytest.warns(
            errors.LlmsqlWarning,
            match='^model "chat" is removed, but still remembered: the database is opened read-only$',
        ):
            con.execute("!llm model remove chat")
    assert bytes_of(file) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("options = '\"text\"'", "options is '\"text\"'"),
        ("defaults = NULL", "defaults is None"),
        ("kind = 'poem'", 'kind is "poem"'),
        ("name = ''", "name is ''"),
        ("backend = 'ecko'", 'there is no backend "ecko"; did you mean "echo"?'),
        ("options = '{\"delai\": 1}'", 'backend "echo" has no option "delai"; did you mean "delay"?'),
        ("name = 'upper'", 'udfName "upper" would shadow the function upper()'),
        ("name = 'select'", 'udfName "select" cannot be the name of a SQL function'),
    ],
)  # fmt: skip
def test_R01_a_broken_row_is_skipped(file: Path, change: str, reason: str) -> None:
    """It is named in a warning; the other models are offered."""
    deployed(file, DEPLOY.format("a", "chat"), DEPLOY.format("b", "chat"))
    with duckdb.connect(str(file)) as plain:
        plain.execute(f"UPDATE llmsql.deployments SET {change} WHERE name = 'a'")
    with pytest.warns(errors.LlmsqlWarning) as told:
        con = llmsql.connect(str(file))
    (warning,) = told
    assert reason in str(warning.message)
    assert con.execute("SELECT b('x')").fetchall() == [("x",)]
    assert [row[0] for row in con.execute("!llm model list").fetchall()] == ["b"]
    con.close()


@pytest.mark.filterwarnings("error")
def test_R01_a_warning_that_is_an_error_closes_the_database(file: Path) -> None:
    """Where warnings are errors, connecting raises, and the file can be opened again."""
    deployed(file, DEPLOY.format("a", "chat"))
    with duckdb.connect(str(file)) as plain:
        plain.execute("UPDATE llmsql.deployments SET kind = 'poem'")
    with pytest.raises(errors.LlmsqlWarning):
        llmsql.connect(str(file))
    duckdb.connect(str(file), config={"threads": 1}).close()


def test_R01_a_table_of_a_newer_version_is_left_alone(file: Path) -> None:
    """Nothing of it is read or written; models are deployed all the same."""
    deployed(file, DEPLOY.format("a", "chat"))
    with duckdb.connect(str(file)) as plain:
        plain.execute("UPDATE llmsql.deployments SET version = 99")
        plain.execute("ALTER TABLE llmsql.deployments DROP COLUMN gpus")
        before = plain.execute("FROM llmsql.deployments").fetchall()
    with pytest.warns(errors.LlmsqlWarning, match="is of version 99, and this llmsql reads 1"):
        con = llmsql.connect(str(file))
    with pytest.warns(errors.LlmsqlWarning, match='^model "b" is deployed, but not remembered: '):
        con.execute(DEPLOY.format("b", "chat"))
    assert con.execute("SELECT b('x')").fetchall() == [("x",)]
    assert con.execute("!llm model exists a").fetchall() == [(False,)]
    con.close()
    with duckdb.connect(str(file)) as plain:
        assert plain.execute("FROM llmsql.deployments").fetchall() == before


def test_R01_somebody_elses_table_is_left_alone(file: Path) -> None:
    """A table of that name with other columns was there first."""
    with duckdb.connect(str(file)) as plain:
        plain.execute("CREATE SCHEMA llmsql; CREATE TABLE llmsql.deployments AS SELECT 1 AS a")
    with pytest.warns(errors.LlmsqlWarning, match="llmsql.deployments has no column backend"):
        con = llmsql.connect(str(file))
    with pytest.warns(errors.LlmsqlWarning, match="is deployed, but not remembered"):
        con.execute(DEPLOY.format("b", "chat"))
    assert con.execute("FROM llmsql.deployments").fetchall() == [(1,)]
    con.close()


def test_R01_deploying_in_a_transaction_is_refused(file: Path) -> None:
    """A rollback would lose the function, also of a model that is only reconnected to."""
    deployed(file, DEPLOY.format("chat", "chat"))
    with llmsql.connect(str(file)) as con:
        con.execute("BEGIN")
        for statement in (RECONNECT.format("chat"), "!llm model reload chat"):
            with pytest.raises(errors.CatalogError, match="inside a transaction"):
                con.execute(statement)
        con.execute("ROLLBACK")


def test_R01_a_moved_source_is_found_again(file: Path, tmp_path: Path) -> None:
    """Where files are gone the source is looked for anew, and the error names it."""
    deployed(file, DEPLOY.format("chat", "chat"))
    with duckdb.connect(str(file)) as plain:
        plain.execute("UPDATE llmsql.deployments SET path = '/gone', source = 'nowhere.gguf'")
    with (
        llmsql.connect(str(file)) as con,
        pytest.raises(errors.BackendError, match='^there is no file or directory "nowhere.gguf"'),
    ):
        con.execute("SELECT chat('x')").fetchall()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("api_key", "sk-1", True),
        ("apiKey", "sk-1", True),
        ("secret_key", "x", True),
        ("api_secret", "x", True),
        ("hf_token", "x", True),
        ("password", "x", True),
        ("aws_access_key", "x", True),
        ("api_key", "${env:MY_KEY}", False),
        ("base_url", "https://user:pass@host/v1", True),
        ("base_url", "https://host/v1?api_key=abc", True),
        ("base_url", "https://host/v1", False),
        ("max_tokens", 5, False),
        ("stop_token_ids", (1, 2), False),
        ("top_k", 5, False),
        ("model", "gpt-4", False),
    ],
)
def test_R01_what_a_secret_is(name: str, value: Any, expected: bool) -> None:
    """Keys, tokens, secrets and passwords are, by their names or inside an address."""
    assert is_secret(name, value) is expected


@pytest.mark.parametrize("cls", [LazyModel, Hosted, Replicated])
def test_R01_a_model_that_stands_for_another_passes_every_call_on(cls: type[Model]) -> None:
    """Each method that a model may have is passed on."""
    methods = {
        name: member
        for name, member in vars(Model).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert [name for name, own in methods.items() if getattr(cls, name) is own] == []


def test_R01_reconnecting_renews_what_requests_are_answered() -> None:
    """A request's answer says nothing of the deployment's defaults, so it is asked again."""
    words = """SELECT chat(llm_param(map{'instruction': 'one two three'}))->>'output'"""
    with llmsql.connect() as con:
        con.execute(DEPLOY.format("chat", "chat"))
        assert con.execute(words).fetchone() == ("one two three",)
        con.execute(RECONNECT.format("chat") + " AND `gen.max_tokens`='2'")
        with pytest.warns(llmsql.LlmsqlWarning, match="cut at max_tokens"):
            assert con.execute(words).fetchone() == ("one two",)


def test_R01_a_macro_of_another_client_is_not_hidden_or_lost(file: Path) -> None:
    """A database whose macro has a remembered model's name says so when it is opened."""
    deployed(file, DEPLOY.format("chat", "chat"))
    with duckdb.connect(str(file)) as other:
        other.execute("CREATE MACRO chat(x) AS 'mine ' || x")
    with (
        pytest.warns(
            llmsql.LlmsqlWarning, match='"chat" is remembered, but the database has a macro'
        ),
        llmsql.connect(str(file)) as con,
    ):
        assert con.execute("SELECT chat('a')").fetchall() == [("mine a",)]
        con.execute("DROP MACRO chat")
    with llmsql.connect(str(file)) as con:
        assert con.execute("SELECT chat('a')").fetchall() == [("a",)]


@pytest.mark.parametrize("form", ["", " (FORMAT parquet)"])
def test_R01_an_export_is_the_users_data(tmp_path: Path, form: str) -> None:
    """It can be imported into a file, once the models of its views are deployed there."""
    with llmsql.connect(str(tmp_path / "a.duckdb")) as con:
        con.execute(DEPLOY.format("chat", "chat"))
        con.execute(
            "CREATE TABLE t AS SELECT 'it''s; x' AS s; CREATE VIEW v AS SELECT chat(s) AS y FROM t"
        )
        con.execute(f"/* all */ EXPORT DATABASE '{tmp_path}/o''ut'{form}")
    with (
        llmsql.connect(str(tmp_path / "b.duckdb")) as con,
        pytest.raises(duckdb.CatalogException, match="No model of that name is deployed"),
    ):
        con.execute(f"IMPORT DATABASE '{tmp_path}/o''ut'")
    with llmsql.connect(str(tmp_path / "b.duckdb")) as con:
        con.execute(DEPLOY.format("chat", "chat"))
        con.execute(f"IMPORT DATABASE '{tmp_path}/o''ut'")
        assert con.execute("FROM v").fetchall() == [("it's; x",)]
    assert sorted(path.suffix for path in (tmp_path / "o'ut").iterdir()) == [
        form and ".parquet" or ".csv",
        ".sql",
        ".sql",
    ]


@pytest.mark.parametrize("sql", ["SELECT 1", DEPLOY.format("chat", "chat")], ids=["none", "one"])
def test_an_export_leaves_a_table_of_the_users_alone(tmp_path: Path, sql: str) -> None:
    """The file of its rows may be called like the one of the models."""
    with llmsql.connect(str(tmp_path / "a.duckdb")) as con:
        con.execute("CREATE TABLE llmsql_deployments AS SELECT 'kept' AS s")
        con.execute(sql)
        con.execute(f"EXPORT DATABASE '{tmp_path}/out'")
    assert len(list((tmp_path / "out").iterdir())) == 3
    with llmsql.connect() as con:
        con.execute(f"IMPORT DATABASE '{tmp_path}/out'")
        assert con.execute("FROM llmsql_deployments").fetchall() == [("kept",)]
