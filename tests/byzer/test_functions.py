"""Byzer's SQL functions and its way of calling a model: spec S01 to S12."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmsql
from llmsql.backends import echo
from llmsql.backends.base import Answered, Embedded
from llmsql.errors import BackendError, LlmsqlWarning, OptionError
from llmsql.types import Prompt
from tests.backends.conftest import _own_cache  # noqa: F401  # converted models stay out of the user's
from tests.installed import MINILM, SMOLLM2, require

A = '[{"predict": "Ho", "input": {"instruction": "Hi"}, "metadata": {}}]'
MODELS = {"smollm2": SMOLLM2, "minilm": MINILM}


class Recorder(echo.Model):
    """An echo that keeps what it was asked, batch by batch."""

    def __init__(self, kind: Any, options: echo.Options) -> None:
        super().__init__(kind, options)
        self.batches: list[list[Any]] = []

    def generate(self, prompts: Any) -> Answered:
        self.batches.append(list(prompts))
        return super().generate(prompts)

    def embed(self, texts: Any) -> Embedded:
        self.batches.append(list(texts))
        return super().embed(texts)

    @property
    def asked(self) -> list[Prompt]:
        return [one for batch in self.batches for one in batch]


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    with llmsql.connect() as made:
        for kind in ("chat", "emb", "rerank"):
            made.execute(
                f"RUN command AS LLM WHERE pretrainedModelType='debug' AND kind='{kind}'"
                f" AND udfName='{kind}' AND backend.fail_on='fail'"
            )
        yield made


@pytest.fixture
def record(con: llmsql.Connection) -> Callable[[str], Recorder]:
    """Put a recorder in the place of a deployed model."""

    def recorder(name: str) -> Recorder:
        deployment = con.engine.deployments.get(name)
        made = Recorder(deployment.spec.kind, deployment.spec.options)
        deployment.model = made
        return made

    return recorder


def rows(con: llmsql.Connection, sql: str, parameters: Any = None) -> list[Any]:
    return con.execute(sql, parameters).fetchall()


def value(con: llmsql.Connection, expression: str, parameters: Any = None) -> Any:
    [[found]] = rows(con, f"SELECT {expression}", parameters)
    return found


def reply(con: llmsql.Connection, call: str) -> Any:
    return json.loads(value(con, call))


def requested(con: llmsql.Connection, model: str, **keys: Any) -> Any:
    """What *model* answers to a request with *keys*."""
    return json.loads(value(con, "llm_request([$1], $2)", [json.dumps(keys), model]))


def test_S01_a_request_is_answered_by_a_json_object(con: llmsql.Connection) -> None:
    """A model that is given a list answers its first request: output, input, metadata, history."""
    found = reply(con, "chat(llm_param(MAP {'instruction': 'Hello there'}))")
    assert found.keys() == {"output", "input", "metadata", "history"}
    assert found["output"] == "Hello there"
    assert found["input"] == {"instruction": "Hello there"}
    assert found["history"] == [
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "Hello there"},
    ]
    two = """chat(['{"instruction": "one"}', '{"instruction": "two"}'])"""
    assert reply(con, two)["output"] == "one"


def test_S01_metadata(con: llmsql.Connection) -> None:
    """Metadata counts tokens, gives times in milliseconds, and is the same for the same request."""
    sql = "chat(llm_param(MAP {'instruction': 'one two three'}))"
    about = reply(con, sql)["metadata"]
    assert about["input_tokens_count"] == about["generated_tokens_count"] == 3
    assert (about["finish_reason"], about["model"], about["prob"]) == ("stop", "chat", None)
    assert about["time_cost"] > 0 and about["speed"] > 0
    assert about.keys() >= {"request_id", "first_token_time"}
    assert reply(con, sql)["metadata"] == about


def test_S01_plain_text_is_answered_by_plain_text(con: llmsql.Connection) -> None:
    """What is no list is asked as before, and keeps its type; NULL too, also in a plan."""
    assert rows(
        con,
        "SELECT chat('Hi'), chat(NULL), chat(42), typeof(emb('a')), typeof(emb(NULL)),"
        " typeof(emb(llm_param({'instruction': 'a'}))), rerank('a b', 'a')",
    ) == [("Hi", None, "42", "FLOAT[8]", "FLOAT[8]", "VARCHAR", 0.5)]
    con.execute("PREPARE ask AS SELECT chat($1), typeof(emb($1))")
    assert rows(con, "EXECUTE ask('Hi')") == [("Hi", "FLOAT[8]")]
    [[answer, kind]] = rows(con, """EXECUTE ask(['{"instruction": "Hi"}'])""")
    assert (json.loads(answer)["output"], kind) == ("Hi", "VARCHAR")


def test_S01_a_list_is_known_wherever_it_comes_from(con: llmsql.Connection) -> None:
    """Also of an aggregate, an alias, a subquery, a window and a lambda DuckDB tells the type."""
    con.execute(
        "CREATE TABLE t AS SELECT 'text ' || i AS s, llm_param({'instruction': 'ask ' || i}) AS l"
        " FROM range(3) r(i)"
    )
    for given in ("max({})", "first_value({}) OVER (ORDER BY s DESC)", "(SELECT max({}) FROM t)"):
        text, answer = (given.format(column) for column in "sl")
        sql = f"SELECT chat({text}), llm_result(chat({answer})), typeof(emb({text})) FROM t LIMIT 1"
        assert rows(con, sql) == [("text 2", "ask 2", "FLOAT[8]")]
    sql = "SELECT s AS x, l AS y, chat(x), llm_result(chat(y)), emb(x) = emb(s) FROM t WHERE x = 'text 1'"
    assert rows(con, sql)[0][2:] == ("text 1", "ask 1", True)
    sql = "SELECT list_transform(list(l), lambda x: llm_result(chat(x))) FROM t"
    assert sorted(value(con, f"({sql})")) == ["ask 0", "ask 1", "ask 2"]
    with pytest.raises(OptionError, match=r"llm_request\(…, 'emb'\) takes it everywhere"):
        rows(con, "SELECT emb(max(l)) FROM t")
    assert rows(con, "SELECT llm_request(max(l), 'emb') LIKE '{\"output\": [%' FROM t") == [(True,)]


def test_a_text_that_is_a_json_list_is_a_text_to_emb(con: llmsql.Connection) -> None:
    """A column of JSON lists is embedded as it stands, whatever keys are in it."""
    text = '[{"query": "the shoe"}]'
    assert rows(con, f"SELECT len(emb('{text}'))") == [(8,)]


def test_S01_equal_requests_are_asked_once_and_in_one_batch(
    con: llmsql.Connection, record: Callable[[str], Recorder]
) -> None:
    """Requests over a table are one set of distinct ones, whatever they ask for."""
    con.execute("CREATE TABLE t AS SELECT i, 'text ' || i % 50 AS s FROM range(5000) r(i)")
    model = record("chat")
    ask = "llm_result(chat(llm_param({'instruction': s, 'max_length': 5 + i % 2})))"
    found = rows(con, f"SELECT {ask} AS a, count(*) FROM t GROUP BY a")
    assert sorted(found) == sorted((f"text {i}", 100) for i in range(50))
    assert (len(model.batches), len(model.asked)) == (1, 50)
    assert {prompt.sampling.max_tokens for prompt in model.asked} == {5, 6}
    rows(con, f"SELECT {ask} FROM t")
    assert len(model.asked) == 50


def test_S01_a_drawn_answer_is_asked_once_in_a_statement(
    con: llmsql.Connection, record: Callable[[str], Recorder]
) -> None:
    """A request with a temperature is asked once in a statement, and again in the next one."""
    model = record("chat")
    sql = (
        "SELECT chat(llm_param({'instruction': 'x' || i % 3, 'temperature': (i % 2)::VARCHAR}))"
        " FROM range(600) r(i)"
    )
    assert len({row for (row,) in rows(con, sql)}) == 6
    assert len(model.asked) == 6
    rows(con, sql)
    assert len(model.asked) == 9


def test_S01_rows_that_fail_are_null(con: llmsql.Connection) -> None:
    """A request that fails gives NULL and a warning, never an error as its answer."""
    with pytest.warns(LlmsqlWarning, match="1 of 3 model calls failed and gave NULL"):
        found = rows(
            con,
            "SELECT llm_result(chat(llm_param({'instruction': s})))"
            " FROM (VALUES ('a'), ('fail'), ('b')) t(s)",
        )
    assert found == [("a",), (None,), ("b",)]


def test_S01_a_limit_asks_few(con: llmsql.Connection, record: Callable[[str], Recorder]) -> None:
    """A LIMIT behind a filter of requests ends early."""
    model = record("chat")
    sql = (
        "SELECT i FROM range(20000) r(i)"
        " WHERE chat(llm_param({'instruction': 'x' || i})) LIKE '%5\", \"input\"%' LIMIT 2"
    )
    assert rows(con, sql) == [(5,), (15,)]
    assert len(model.asked) <= 64


def test_S01_a_client_without_our_macros(con: llmsql.Connection) -> None:
    """Another client's call of the function with a list is a request as well."""
    other = con.engine.root.cursor()
    [[answer]] = other.execute("""SELECT chat(['{"instruction": "Hi"}'])""").fetchall()
    assert json.loads(answer)["output"] == "Hi"


def test_S02_param_takes_maps_structs_and_json(con: llmsql.Connection) -> None:
    """A request is one JSON text in a list; the texts of a MAP stay texts."""
    assert rows(
        con,
        "SELECT llm_param(MAP {'instruction': 'a', 'top_p': '0.5'}), llm_param({'top_p': 0.5}),"
        """ llm_param('{"a": 1}'::JSON), llm_param(NULL)""",
    ) == [(['{"instruction":"a","top_p":"0.5"}'], ['{"top_p":0.5}'], ['{"a":1}'], None)]


def test_S02_keys_become_what_is_asked(
    con: llmsql.Connection, record: Callable[[str], Recorder]
) -> None:
    """Texts and typed values set the sampling alike; other engines' names are ours."""
    model = record("chat")
    requested(
        con, "chat", query="a", system_msg="Be kind.", temperature="0.5", top_p="0.25",
        max_length="7", stopping_sequences="x,yy", timeout_s="3", user_role="U", assistant_role="A",
        history='[{"role": "user", "content": "b"}]',
    )  # fmt: skip
    requested(
        con,
        "chat",
        **{"instruction": "a", "gen.max_new_tokens": 7, "generation.seed": 1, "gen.stop": ["x"]},
    )
    requested(con, "chat", instruction="c", stopping_sequences='["a,b"]', inference_mode="x")
    first, second, third = model.asked
    assert (first.text, first.sampling.system, first.timeout) == ("a", "Be kind.", 3)
    assert (first.sampling.temperature, first.sampling.top_p) == (0.5, 0.25)
    assert (first.sampling.max_tokens, first.sampling.stop) == (7, ("x", "yy"))
    assert [(turn.role, turn.content) for turn in first.history] == [("user", "b")]
    assert first.roles is not None and first.roles.user == "U"
    assert (second.sampling.max_tokens, second.sampling.seed) == (7, 1)
    assert (second.sampling.stop, second.sampling.temperature, second.roles) == (("x",), 0, None)
    assert third.sampling.stop == ("a,b",)


def test_S02_a_request_beats_the_deployment(con: llmsql.Connection) -> None:
    """What a request says is said last; the rest is the deployment's."""
    con.engine.deployments.get("chat").spec.defaults.update(  # type: ignore[attr-defined]
        {"max_tokens": 1, "stop": "three"}
    )
    with pytest.warns(LlmsqlWarning, match="cut at max_tokens"):
        assert requested(con, "chat", instruction="one two three")["output"] == "one"
    assert requested(con, "chat", instruction="one two three", max_length=9)["output"] == "one two "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            '{"instruction": "a", "tempature": "1"}',
            'a request has no key "tempature"; did you mean "temperature"?\n  its keys: instruction, ',
        ),
        (
            '{"instruction": "a", "gen.tempature": "1"}',
            'model "chat" has no option "tempature"; did you mean "temperature"?\n',
        ),
        (
            '{"instruction": "a", "temperature": "hot"}',
            'option "temperature" of model "chat" takes a number, not \'hot\'',
        ),
        ('{"instruction": "a", "meta": "so"}', '"meta" of a request takes true or false, not "so"'),
        (
            '{"temperature": "1"}',
            'a request says what it wants as "instruction", which is missing\n'
            "  llm_param(MAP {'instruction': '…'})",
        ),
        (
            "Hello",
            'a request is a JSON object, not "Hello"\n'
            "  llm_param(MAP {'instruction': '…'}) makes one",
        ),
        (
            '{"instruction": "a", "history": "b"}',
            '"history" is a list of messages here, not "b"\n'
            '  for example: [{"role": "user", "content": "Hello"}]',
        ),
        (
            '{"instruction": "a", "image": "aGk="}',
            'model "chat" reads text only: it takes no "image"',
        ),
    ],
)
def test_S02_what_is_wrong_is_said(con: llmsql.Connection, given: str, message: str) -> None:
    """Unknown keys, wrong values and what is no request are errors in the user's words."""
    with pytest.raises(OptionError) as error:
        rows(con, "SELECT chat([$1])", [given])
    assert message in str(error.value)


def test_S02_null_is_not_asked(con: llmsql.Connection, record: Callable[[str], Recorder]) -> None:
    """A NULL list, an empty one, and a NULL instruction are NULL without a call."""
    model = record("chat")
    sql = "SELECT chat(NULL::VARCHAR[]), chat([]), chat(llm_param({'instruction': NULL}))"
    assert rows(con, sql) == [(None, None, None)]
    assert model.asked == []


def test_S03_prompt(con: llmsql.Connection) -> None:
    """Places are filled by number and by turn, once; the rest of the text stays as it is."""
    cases = {
        "{0} {1} {0} {} {}": "a b a a b",
        "{0:x} {5:x} {5} {-1:n} {5: y }": "a x  n  y",
        "${0} ${x} {x} {'json': {1}} {{0}}": "${0} ${x} {x} {'json': b} {a}",
        "{:all}|{}": '["a","b"]|a',
    }
    for template, expected in cases.items():
        assert value(con, "llm_prompt($1, ['a', 'b'])", [template]) == expected
    assert value(con, "llm_prompt('{0} {:all}', ['{1} {:all}', NULL])") == (
        '{1} {:all} ["{1} {:all}",null]'
    )
    assert value(con, "llm_prompt('{1} {}', [NULL])") == " "
    again = "length(llm_prompt('{0:uuid()}', [])), llm_prompt('{9:next(b, 0)}', ['b', '2'])"
    assert rows(con, f"SELECT {again}") == [(32, "2")]


def test_S04_response_predict(con: llmsql.Connection) -> None:
    """The answer is read out of both generations, in a list or not; other text is itself."""
    ask = "chat(llm_param({'instruction': 'Ho'}))"
    for given in (ask, f"[{ask}]", f"'{A}'", f"['{A}']", "'Ho'"):
        assert value(con, f"llm_response_predict({given})") == "Ho"
    assert value(con, """llm_response_predict('{"output": "no answer of ours"}')""").startswith("{")
    assert value(con, "llm_response_predict(NULL)") is None


def test_S05_result(con: llmsql.Connection) -> None:
    """llm_result reads the same, and a vector as JSON."""
    assert value(con, f"llm_result('{A}')") == "Ho"
    vector = "emb(llm_param(MAP {'instruction': 'a', 'embedding': 'true'}))"
    assert value(con, f"llm_result({vector})::JSON::FLOAT[] = emb('a')::FLOAT[]")
    assert value(con, f"llm_vector({vector}) = emb('a')::FLOAT[]")


def test_S06_response_full(con: llmsql.Connection) -> None:
    """The instruction and the answer stand one behind the other."""
    assert value(con, f"llm_response_full('{A}')") == "HiHo"
    assert value(con, "llm_response_full(chat(llm_param({'instruction': 'a'})))") == "aa"


def test_S07_stack(con: llmsql.Connection) -> None:
    """A conversation goes on over statements: what was said before is sent along."""
    con.execute("CREATE TABLE q1 AS SELECT chat(llm_param({'instruction': 'a'})) AS q")
    con.execute(
        "CREATE TABLE q2 AS SELECT chat(llm_stack(q, llm_param({'instruction': 'b'}))) AS q FROM q1"
    )
    [[last]] = rows(con, "SELECT chat(llm_stack(q, llm_param({'instruction': 'c'}))) FROM q2")
    said = [(turn["role"], turn["content"]) for turn in json.loads(last)["history"]]
    assert said == [
        ("user", "a"), ("assistant", "a"), ("user", "b"), ("assistant", "aab"),
        ("user", "c"), ("assistant", "aabaabc"),
    ]  # fmt: skip
    assert value(con, f"llm_stack('{A}', llm_param({{'instruction': 'b'}}))") == [
        '{"history":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}],'
        '"instruction":"b"}'
    ]


def test_S07_a_conversation_in_one_statement_asks_each_turn_once(
    con: llmsql.Connection, record: Callable[[str], Recorder]
) -> None:
    """The second turn waits for the first: no request without its history is asked."""
    model = record("chat")
    first = "chat(llm_param({'instruction': 'a' || i % 2}))"
    sql = f"SELECT chat(llm_stack({first}, llm_param({{'instruction': 'b'}}))) FROM range(10) r(i)"
    outputs = {json.loads(row)["output"] for (row,) in rows(con, sql)}
    assert outputs == {"a0a0b", "a1a1b"}
    assert [len(batch) for batch in model.batches] == [2, 2]


def test_S08_split(con: llmsql.Connection) -> None:
    """Pieces end behind the last separator in them, else where they are full, and are numbered."""
    text = "One two. Three, four. Five"
    found = value(con, "llm_split($1, ['.', ','], 10)", [text])
    assert [piece["content_id"] for piece in found] == list(range(len(found)))
    assert [piece["content"] for piece in found] == ["One two.", " Three,", " four.", " Five"]
    assert value(con, "llm_split('abcde', ['.'], 2)[3].content") == "e"
    with pytest.raises(llmsql.Error, match="the limit must be 1 or more, not 0"):
        rows(con, "SELECT llm_split('abcde', ['.'], 0)")


def test_S09_embedding_is_a_flag(con: llmsql.Connection, record: Callable[[str], Recorder]) -> None:
    """A flag asks for a vector, "false" does not; a model for embeddings needs none."""
    model = record("chat")
    assert len(requested(con, "chat", instruction="a", embedding="true")["output"]) == 8
    assert requested(con, "chat", instruction="a", embedding="false")["output"] == "a"
    assert model.batches[0] == ["a"]
    assert len(requested(con, "emb", instruction="a")["output"]) == 8
    with pytest.raises(BackendError, match="this model does not make embeddings"):
        con.engine.deployments.get("chat").model = type("Mute", (llmsql.backends.base.Model,), {})()
        requested(con, "chat", instruction="b", embedding=True)


def test_S09_pairs_are_ranked(con: llmsql.Connection) -> None:
    """A rerank model scores a pair, or a list of pairs, the best first."""
    assert requested(con, "rerank", instruction=["a b", "a"])["output"] == [["a b", "a"], 0.5]
    pairs = json.dumps([["a b", "a"], ["a", "a"]])
    found = requested(con, "rerank", instruction=pairs, embedding="true")["output"]
    assert found == [[["a", "a"], 1.0], [["a b", "a"], 0.5]]


def test_S10_tokens_meta_and_template(con: llmsql.Connection) -> None:
    """Flags and functions tell a model's tokens, what it is, and how messages look to it."""
    tokens = requested(con, "chat", instruction="one two one", tokenizer="true")["output"]
    assert value(con, "llm_tokenize('chat', 'one two one')") == tokens
    assert len(tokens) == 3 and tokens[0] == tokens[2]
    about = json.loads(value(con, "llm_meta('emb')"))
    assert about.keys() >= {
        "model_deploy_type", "backend", "max_model_len", "architectures", "support_stream",
        "support_chat_template", "kind", "devices", "dim",
    }  # fmt: skip
    assert (about["backend"], about["kind"], about["dim"]) == ("echo", "emb", 8)
    assert requested(con, "emb", meta="true")["output"] == about
    said = json.dumps([{"role": "user", "content": "Hi"}])
    rendered = requested(con, "chat", instruction=said, apply_chat_template="true")["output"]
    assert rendered == "user: Hi\nassistant: "
    assert value(con, "llm_apply_chat_template('chat', $1)", [said]) == rendered


def test_S11_requests_without_our_functions(con: llmsql.Connection) -> None:
    """A list of one JSON text made in any way is a request."""
    sql = "SELECT chat([to_json(MAP {'instruction': s})]) FROM (VALUES ('a')) t(s)"
    [[answer]] = rows(con, sql)
    assert json.loads(answer)["output"] == "a"


def test_S12_with_and_without_from(con: llmsql.Connection) -> None:
    """A model is called without a table, over one, in a view, and in what is written."""
    con.execute("CREATE TABLE t AS SELECT 'a' || i AS s FROM range(3) r(i)")
    ask = "llm_result(chat(llm_param(MAP {'instruction': s})))"
    con.execute(f"CREATE VIEW v AS SELECT {ask} AS a FROM t")
    con.execute("CREATE TABLE w AS SELECT * FROM v")
    for table in ("v", "w"):
        assert rows(con, f"FROM {table}") == [("a0",), ("a1",), ("a2",)]
    assert rows(con, f"DESCRIBE SELECT {ask} AS a FROM t")[0][:2] == ("a", "VARCHAR")


def real(con: llmsql.Connection, name: str) -> str:
    """Deploy *name* with its real weights; returns the function."""
    require(*MODELS[name])
    import torch

    torch.set_num_threads(1)
    con.execute(f"RUN command AS LLM WHERE localModelDir='{name}' AND udfName='{name}'")
    return name


@pytest.mark.models
def test_S10_a_real_model_tells_its_tokens_and_itself(con: llmsql.Connection) -> None:
    """SmolLM2's tokens, template and facts are those of its files, and it embeds as well."""
    name = real(con, "smollm2")
    assert value(con, f"llm_tokenize('{name}', 'hi there')") == [6004, 665]
    about = json.loads(value(con, f"llm_meta('{name}')"))
    assert (about["architectures"], about["max_model_len"]) == (["LlamaForCausalLM"], 8192)
    assert about["support_chat_template"] and about["dtype"] in ("float32", "bfloat16")
    said = """[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]"""
    assert value(con, "llm_apply_chat_template($1, $2)", [name, said]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    vector = f"llm_vector({name}(llm_param({{'instruction': s, 'embedding': true}})))"
    near, far, length = rows(
        con,
        f"WITH v AS (SELECT s, {vector} AS v FROM (VALUES ('A red lamp'), ('A red light'), ('7 + 8'))"
        " t(s)) SELECT list_cosine_similarity(a.v, b.v), list_cosine_similarity(a.v, c.v),"
        " list_inner_product(a.v, a.v)"
        " FROM v a, v b, v c WHERE a.s = 'A red lamp' AND b.s = 'A red light' AND c.s = '7 + 8'",
    )[0]
    assert near > far
    assert length == pytest.approx(1)


@pytest.mark.models
@pytest.mark.filterwarnings("ignore:.*cut at max_tokens")
def test_S07_a_real_model_remembers(con: llmsql.Connection) -> None:
    """In the second turn SmolLM2 knows the name that only the first one said."""
    name = real(con, "smollm2")
    first = (
        f"{name}(llm_param(MAP {{'instruction': 'My cat is called Fluffy. What do cats eat?',"
        " 'max_length': '20'}))"
    )
    then = "llm_param({'instruction': 'What is my cat called?', 'max_length': 20})"
    found = reply(con, f"{name}(llm_stack({first}, {then}))")
    assert "Fluffy" in found["output"]
    assert [turn["role"] for turn in found["history"]] == ["user", "assistant"] * 2
    assert found["metadata"]["input_tokens_count"] > 40
    assert "Fluffy" not in reply(con, f"{name}({then})")["output"]


@pytest.mark.models
def test_S09_a_real_embedding_model_answers_requests(con: llmsql.Connection) -> None:
    """MiniLM's vector comes as JSON as it comes as FLOAT[384], and its tokens with its marks."""
    name = real(con, "minilm")
    ask = f"{name}(llm_param(MAP {{'instruction': 'a lamp', 'embedding': 'true'}}))"
    assert value(con, f"list_distance(llm_vector({ask}), {name}('a lamp')::FLOAT[]) < 1e-5")
    assert value(con, f"llm_tokenize('{name}', 'a lamp')") == [101, 1037, 10437, 102]
    with pytest.raises(BackendError, match="this model has no chat template of its own"):
        value(con, f'llm_apply_chat_template(\'{name}\', \'[{{"role": "user", "content": "a"}}]\')')


def test_S01_half_a_character_is_a_row_that_fails(con: llmsql.Connection) -> None:
    """A request cut within an emoji gives NULL and a warning; its neighbours keep their answers."""
    asked = r"""VALUES (['{"instruction":"ok"}']), (['{"instruction":"\ud83d"}'])"""
    with pytest.warns(llmsql.LlmsqlWarning, match="half of a character"):
        found = rows(con, f"SELECT llm_result(chat(x)) FROM ({asked}) v(x)")
    assert found == [("ok",), (None,)]


def test_S02_options_beside_a_request_are_refused(con: llmsql.Connection) -> None:
    """They belong into the request, and are not taken for a text that is asked."""
    with pytest.raises(OptionError, match="takes its options inside the request"):
        rows(con, "SELECT chat(llm_param({'instruction': 'a'}), {'max_tokens': 5})")


def test_S02_a_request_nested_too_deeply(con: llmsql.Connection) -> None:
    """It is an error of ours."""
    deep = "[" * 100_000
    with pytest.raises(OptionError, match="a request is a JSON object"):
        rows(con, "SELECT chat([$1::VARCHAR])", [deep])
