"""Threads, cursors, interruption: nothing mixes, nothing hangs, nothing computed is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql import render
from llmsql.runtime import engine
from llmsql.runtime.engine import Engine
from llmsql.runtime.worker import Worker
from tests.journals import asked
from tests.oracle import Ours

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat' AND delay='{}'"


def together(count: int, work: Any) -> None:
    """Run *work(number)* in *count* threads at once; raises what any of them raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_cursors_in_threads_do_not_mix(con: Any) -> None:
    """Each cursor's statement gets its own answers."""
    con.execute(DEPLOY.format(0))

    def work(number: int) -> None:
        cursor = con.cursor()
        for turn in range(5):
            rows = cursor.execute(
                f"SELECT chat('{number}-{turn}-' || i) FROM range(50) r(i)"
            ).fetchall()
            assert sorted(rows) == sorted([(f"{number}-{turn}-{i}",) for i in range(50)])
        cursor.close()

    together(6, work)


def test_threads_on_one_connection_take_turns(con: Any) -> None:
    """Statements of two threads on one connection run one after the other."""
    con.execute(DEPLOY.format(0))
    together(4, lambda number: con.execute(f"SELECT chat('{number}')"))
    assert con.execute("SELECT chat('after')").fetchall() == [("after",)]


def test_concurrent_statements_share_what_is_computed() -> None:
    """Two statements that need the same inputs at the same time compute each once."""
    ours = Ours("CREATE TABLE t AS SELECT 'x' || i AS s FROM range(300) r(i)")
    together(4, lambda number: ours.con.cursor().execute("SELECT m(s) FROM t").fetchall())
    assert ours.calls == 300


def test_deploying_while_others_ask(con: Any) -> None:
    """Replacing a model under load answers every row from the old or the new one."""
    con.execute(DEPLOY.format(0))

    def work(number: int) -> None:
        cursor = con.cursor()
        for turn in range(6):
            if number == 0:
                cursor.execute(DEPLOY.format(0))
            else:
                rows = cursor.execute(
                    f"SELECT chat('{number}{turn}' || i) FROM range(20) r(i)"
                ).fetchall()
                assert all(row[0] is not None for row in rows)
        cursor.close()

    together(4, work)


def test_interrupt_from_another_thread_keeps_what_was_computed(con: Any) -> None:
    """interrupt() ends a statement of 50 seconds soon; its answers are kept."""
    con.execute(DEPLOY.format(0.05))
    deployment = con.engine.deployments.get("chat")
    interrupted: list[float] = []

    def interrupt() -> None:
        while deployment.answered < 5:
            time.sleep(0.01)
        interrupted.append(time.perf_counter())
        con.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(duckdb.InterruptException):
        con.execute("SELECT chat('r' || i) FROM range(1000) r(i)")
    thread.join()
    assert time.perf_counter() - interrupted[0] < 20
    assert sum(map(len, deployment._answers.values())) >= 5
    assert con.execute("SELECT chat('after')").fetchall() == [("after",)]


def test_interrupting_reaches_a_statement_that_waits_for_its_turn(con: Any) -> None:
    """While another connection's statement has the model."""
    con.execute(DEPLOY.format(0.05))
    other = con.cursor()
    long = threading.Thread(target=lambda: _run_until_interrupted(other))
    long.start()
    while not con.engine.deployments.get("chat").answered:
        time.sleep(0.01)
    threading.Timer(0.3, con.interrupt).start()
    with pytest.raises(duckdb.InterruptException):
        con.execute("SELECT chat('a')")
    assert con.engine.deployments.get("chat").answered < 1_000  # it does not wait for all 2,000
    other.interrupt()
    long.join()


def _run_until_interrupted(con: Any) -> None:
    with suppress(duckdb.InterruptException):
        con.execute("SELECT chat('r' || i) FROM range(2000) r(i)")


def test_interrupting_nothing_changes_nothing(con: Any) -> None:
    """What is read next is not stopped for it."""
    con.execute(DEPLOY.format(0))
    con.execute("CREATE TABLE t AS SELECT 'a' AS s")
    con.interrupt()
    assert con.table("t").project("chat(s)").fetchall() == [("a",)]


PROGRAM = """
import llmsql, sys
con = llmsql.connect()
con.execute("SET threads = {threads}")
con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat' AND delay='0.05'"
            f" AND journal='{{sys.argv[1]}}'")
con.execute("CREATE TABLE t AS SELECT 'r' || i AS s FROM range(300000) r(i)")
try:
    con.execute({sql!r}).fetchall()
except KeyboardInterrupt:
    print("interrupted", flush=True)
deployment = con.engine.deployments.get("chat")
print(sum(map(len, deployment._answers.values())) > 5, flush=True)
print(con.execute("SELECT chat('after')").fetchall(), flush=True)
"""


@pytest.mark.parametrize(
    ("sql", "threads"),
    [
        ("SELECT chat(s) FROM t LIMIT 500", 1),
        ("SELECT chat(s) FROM t WHERE random() < 2", 1),
        ("SELECT chat(s) FROM t WHERE random() < 2", 8),
    ],
    ids=["between passes", "on the spot", "on the spot, by DuckDB's threads"],
)
def test_ctrl_c_gives_control_back(sql: str, threads: int, journal: Path) -> None:
    """Ctrl-C ends a call of hours soon, and the connection goes on."""
    text = PROGRAM.format(sql=sql, threads=threads)
    program = [sys.executable, "-c", text, str(journal)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        while len(asked(journal)) < 10 and process.poll() is None:
            time.sleep(0.01)
        started = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n", process.communicate()[1]
        assert time.perf_counter() - started < 20
        assert process.stdout.read() == "True\n[('after',)]\n"
        assert process.wait(20) == 0


def test_close_while_another_thread_asks(con: Any) -> None:
    """Closing waits for the statement of the other thread, then closes."""
    con.execute(DEPLOY.format(0.01))
    thread = threading.Thread(
        target=con.execute, args=("SELECT chat('r' || i) FROM range(30) r(i)",)
    )
    thread.start()
    time.sleep(0.1)
    con.close()
    thread.join(20)
    assert not thread.is_alive()


CRASHES = {
    "a model removed while its rows are streamed": """
a = con.cursor()
a.execute("SELECT chat('a' || (i % 10)) FROM range(500000) r(i) WHERE random() < 2").fetchone()
con.execute("!llm model remove chat")
try:
    a.fetchall()
except llmsql.CatalogError as error:
    print(str(error).split(chr(10))[0])
""",
    "a model's kind replaced while others ask": """
def work():
    cursor = con.cursor()
    for turn in range(30):
        try:
            cursor.execute(f"SELECT count(chat('{turn}' || i)) FROM range(3000) r(i)").fetchall()
        except llmsql.Error:
            pass
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
for kind in ["emb", "chat", "rerank"] * 3:
    con.execute(DEPLOY + f" AND kind='{kind}'")
[thread.join() for thread in threads]
print('there is no model "chat"')
""",
}


@pytest.mark.parametrize("program", CRASHES.values(), ids=CRASHES)
def test_functions_outlive_what_calls_them(program: str) -> None:
    """A plan that still calls a model which went gets an error, not a crash."""
    head = (
        "import llmsql, threading\n"
        "DEPLOY = \"RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'\"\n"
        "con = llmsql.connect()\ncon.execute(DEPLOY)\n"
    )
    run = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, 'there is no model "chat"\n'), run.stderr


def test_a_cursor_is_made_while_a_statement_runs(con: Any) -> None:
    """It waits for nothing, and sees the statement."""
    con.execute(DEPLOY.format("0.05"))
    begun, found = threading.Event(), []

    def look() -> None:
        begun.wait()
        with con.cursor() as cursor:
            found.extend(cursor.execute("SELECT model FROM llm_progress()").fetchall())

    con.on_progress = lambda progress: begun.set()
    thread = threading.Thread(target=look)
    thread.start()
    con.execute("SELECT count(chat('x' || i)) FROM range(40) r(i)").fetchall()
    thread.join()
    assert found == [("chat",)]


def test_a_function_of_the_users_makes_cursors(con: Any) -> None:
    """Also where DuckDB calls it from another thread than the statement's."""
    con.execute(DEPLOY.format("0"))
    con.execute("CREATE TABLE t AS SELECT i::VARCHAR AS s FROM range(4000) r(i)")

    def newest(text: str) -> str:
        if text != "7":
            return text
        with con.cursor() as cursor:
            (row,) = cursor.execute("SELECT count(*)::VARCHAR FROM t").fetchall()
            return str(row[0])

    con.create_function("newest", newest, ["VARCHAR"], "VARCHAR")
    sql = "SELECT count(newest(s)), count(chat(s)) FROM t WHERE newest(s) = '4000'"
    assert con.execute(sql).fetchall() == [(1, 1)]


def test_forgotten_connections_are_released(tmp_path: object) -> None:
    """A connection that nobody has any more gives back its file, its model and its thread."""
    program = (
        "import llmsql, gc, time, threading\n"
        f"for n in range(20):\n    con = llmsql.connect('{tmp_path}/' + str(n) + '.duckdb')\n"
        "    con.execute(\"RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m'\")\n"
        "    con.execute(\"SELECT m('x')\").fetchall()\n    con.cursor()\n    del con\n"
        "gc.collect()\n"
        "from llmsql.runtime.engine import Engine\n"
        "until = time.monotonic() + 120\n"
        "while (Engine._alive or threading.active_count() > 4) and time.monotonic() < until:\n"
        "    time.sleep(0.1)\n"
        "print(len(Engine._alive), threading.active_count() < 5)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("0 True\n", "")


def test_a_database_that_is_being_closed_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB would give the one that goes, with the functions of before; a model may take long."""
    monkeypatch.setattr(engine, "CLOSING_SECONDS", 0.1)
    path, close, begun = str(tmp_path / "a.duckdb"), Engine.close, threading.Event()

    def slowly(closed: Engine) -> None:
        begun.set()
        time.sleep(0.3)
        close(closed)

    monkeypatch.setattr(Engine, "close", slowly)
    closing = threading.Thread(target=llmsql.connect(path).close)
    closing.start()
    begun.wait()
    with llmsql.connect(path) as con:
        assert con.execute("SELECT 1").fetchall() == [(1,)]
    closing.join()


def test_a_sampling_may_be_forgotten_while_it_is_made(con: Any) -> None:
    """Another thread may make room at any time."""

    class Full(dict[str, Any]):
        def __setitem__(self, text: str, sampling: Any) -> None: ...

    con.execute(DEPLOY.format(0))
    deployment = con.engine.deployments.get("chat")
    deployment._samplings = Full()
    assert deployment.sampling("{}", lambda: "made") == "made"


@pytest.fixture
def busy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's own connection is in use in another thread, as its errors are there."""

    def refuse(sql: str) -> None:
        raise duckdb.InvalidInputException("no open result set")

    monkeypatch.setattr(duckdb, "extract_statements", refuse)


def test_an_update_raises_while_another_thread_uses_the_modules_connection(
    con: Any, busy_module: None
) -> None:
    """The NULL of a failed row would take the place of a value."""
    con.execute(DEPLOY.format(0) + " AND fail_on='bad'; CREATE TABLE t AS SELECT 'bad' AS s")
    with pytest.raises(llmsql.GenerationError):
        con.execute("UPDATE t SET s = chat(s)")
    assert con.execute("FROM t").fetchall() == [("bad",)]


def test_a_count_is_not_shown_while_another_thread_uses_the_modules_connection(
    con: Any, busy_module: None
) -> None:
    sql = "CREATE TABLE t AS SELECT 1 AS i"
    assert not render.is_shown(con.execute(sql), sql)


def test_the_first_tasks_of_two_threads_run_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the worker's own, one after the other."""
    start = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        if thread.name == "slow":
            time.sleep(0.1)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    worker, used = Worker("slow"), []
    together(2, lambda _: used.append(worker.submit(threading.get_ident).result(5)))
    assert used == [worker._thread.ident] * 2
    worker.stop()


def test_work_is_done_where_no_thread_may_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.12 on none begins while the interpreter ends, and a model is to be unloaded."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker = Worker("late")
    assert worker.submit(lambda: "unloaded").result(0) == "unloaded"
    with pytest.raises(KeyError):
        worker.submit(lambda: {}["none"]).result(0)
    worker.stop()
    worker.join(0)


@pytest.mark.parametrize("first", ["INSERT INTO t SELECT abs(1)", "SELECT count(*) FROM t"])
def test_a_deployment_ends_no_transaction_of_another_cursor(con: Any, first: str) -> None:
    """That does not see the function yet; on DuckDB 2.0 an error of ours would end it."""
    con.execute("CREATE TABLE t(i BIGINT)")
    with con.cursor() as other:
        other.execute(f"BEGIN; {first}")
        con.execute(DEPLOY.format("0"))
        other.execute("INSERT INTO t SELECT abs(2); COMMIT")
        assert other.execute("SELECT max(i), chat('a') FROM t").fetchall() == [(2, "a")]
