"""Python values as Arrow arrays, as `pyarrow.array` makes them but without pandas."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from llmsql import arrays
from tests.installed import needs

SCRIPT = """
import sys
import llmsql
con = llmsql.connect()
con.execute("RUN command AS LLM WHERE infer_backend='echo' AND udfName='chat'")
con.execute("CREATE TABLE t AS SELECT 'prompt ' || i AS x FROM range(100) r(i)")
assert len(con.execute("SELECT chat(x) FROM t").fetchall()) == 100
con.close()
assert "pandas" not in sys.modules
"""


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], pa.string()),
        (["a", "", "longer text"], pa.string()),
        (["é", None, "数据", ""], pa.string()),
        ([None, None], pa.string()),
        (["a\0b"], pa.string()),
        ([1, None, -(2**63)], pa.int64()),
        ([1, None, 2], pa.int32()),
        ([0.5, None, 1, float("inf")], pa.float64()),
        ([0.5, None], pa.float32()),
        ([True, None, False] * 5, pa.bool_()),
        ([datetime(2026, 1, 2, 3, 4, 5, 678), None], pa.timestamp("us")),
        ([[1.0], None], pa.list_(pa.float32())),
        (["x"] * arrays.MANY, pa.string()),
    ],
)
def test_arrays_are_those_of_arrow(values, kind):
    made = arrays.array(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


@pytest.mark.parametrize(("values", "kind"), [([1], pa.string()), (["\ud800"], pa.string()),
                                              ([2**63], pa.int64()), (["x"], pa.int64())])  # fmt: skip
def test_what_cannot_be_made_is_said_by_arrow(values, kind):
    with pytest.raises(Exception) as theirs:
        pa.array(values, kind)
    with pytest.raises(theirs.type):
        arrays.array(values, kind)


def test_texts_are_found_in_bytes():
    data = "aäb\N{GRINNING FACE}".encode()
    assert arrays.texts_in(data, np.array([0, 1, 3]), np.array([1, 3, 4])) == ["a", "ä", "b"]
    assert arrays.texts_in(data, np.array([0, 4]), np.array([4, 8])) == ["aäb", "\N{GRINNING FACE}"]
    assert arrays.texts_in(b"", np.array([], int), np.array([], int)) == []


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match="Invalid UTF8"):
        arrays.texts_in(b"a\xff", np.array([0]), np.array([2]))


@needs("pandas")
@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 loads pandas to read any table")
def test_a_small_statement_does_not_load_pandas():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert not done.returncode, done.stderr
