"""No statement asks a model more than plain DuckDB with a function that remembers would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import rare
from tests.aliased import Aliased
from tests.alike import Alike
from tests.branches import Branches
from tests.choices import Choices
from tests.chosen import Chosen
from tests.hidden import DEFINITIONS, Hidden
from tests.layered import Layered
from tests.nested import Nested
from tests.oracle import TABLES, Ours, Plain, numbered, same_rows
from tests.subqueries import Subqueries

LARGE = """
CREATE TABLE t AS SELECT i, i % 10 AS k, 'text ' || i AS s FROM range(6000) r(i);
CREATE TABLE u AS SELECT i AS id, i % 5 AS k, 'word ' || i AS w, (i * 7) % 11 AS n FROM range(5000) r(i);
CREATE VIEW v AS SELECT i, k, s, m(s) AS yes FROM t WHERE k < 4;
CREATE MACRO marked(x) AS TABLE SELECT i, g(s) AS mark FROM t WHERE k = x;
"""
ENDING = [
    "SELECT i FROM t WHERE k = 3 AND EXISTS (SELECT 1 FROM u WHERE m(w) = 'true')",
    "SELECT i FROM t WHERE m(s) = 'true' AND NOT EXISTS (SELECT 1 FROM u WHERE m(w) = 'true')",
    "SELECT i FROM t WHERE m(s) = 'true' AND EXISTS (SELECT 1 FROM u WHERE m(w) = 'x')",
    "SELECT i FROM t WHERE m(s) = 'true' AND k IN (SELECT n FROM u WHERE m(w) = 'x')",
    "SELECT i FROM t WHERE m(s) = 'true' AND k = (SELECT max(n) FROM u WHERE m(w) = 'x')",
    "SELECT i FROM t WHERE m(s) = 'true'"
    " AND (SELECT count(*) FROM u WHERE m(w) = 'true' AND id < 9) > 100",
    "SELECT i FROM t SEMI JOIN u ON t.k = u.n AND m(u.w) = 'x' WHERE m(t.s) = 'true'",
    "SELECT count(*) FROM t SEMI JOIN (SELECT id FROM u WHERE w = 'none') z ON t.i <> z.id"
    " WHERE m(s) = 'true'",
    "SELECT count(*) FROM t, (SELECT id FROM u WHERE w = 'none') z WHERE m(s) = 'true'",
    "SELECT count(*) FROM (SELECT i FROM t WHERE m(s) = 'true' LIMIT 3)",
    "SELECT (SELECT s FROM t WHERE m(s) = 'true' LIMIT 1)",
    "SELECT i FROM t WHERE i IN (SELECT id FROM u WHERE m(w) = 'true' LIMIT 3) AND m(s) = 'true'",
    "SELECT DISTINCT k FROM t WHERE m(s) = 'true' LIMIT 2",
    "SELECT i FROM t WHERE m(s) = 'true' AND g(s) = '1' LIMIT 90",
    "SELECT i FROM v WHERE yes = 'true' LIMIT 5",
    "SELECT i FROM marked(3) WHERE mark < '4' LIMIT 5",
    "SELECT * FROM (SELECT i, m(s) AS y FROM t) WHERE y = 'true' LIMIT 5",
    "SELECT i FROM t WHERE m(s) = 'true' UNION ALL SELECT id FROM u WHERE m(w) = 'true' LIMIT 5",
    "CREATE TABLE made AS SELECT * FROM (SELECT i, m(s) AS y FROM t) WHERE y = 'true' LIMIT 5",
    "INSERT INTO u(id) SELECT i FROM t WHERE k = 3 AND EXISTS (SELECT 1 FROM u WHERE m(w) = 'true')",
]
"""Which DuckDB ends before all rows are asked about: tables of more rows than it takes at a time."""

FOUND = [
    "SELECT i, k FROM t WHERE i < 50 QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) < 6"
    " AND m(l[1] || i) = 'true' AND"
    " (SELECT count(*) FROM u WHERE g(g(w || id)) IN ('1', '2') AND n > 3 AND n < 3) > 2",
    "SELECT i, vy FROM tv WHERE pick('q' || i) <> '2' AND either(s)",
    "SELECT i, pick(s || i) FROM tv WHERE either('q' || i) AND k > 2",
    "SELECT i, gg('o' || i) FROM tv WHERE mm('q' || i) IS NULL AND k > 2",
    "SELECT i FROM t WHERE (mm(s || k) IS NULL OR (NOT flag AND s LIKE '%1%')) AND m(s || i)",
    "SELECT a.i FROM tg a JOIN t b ON a.k = b.i WHERE m(b.s || b.i) AND a.k < 6",
    "WITH c AS (SELECT *, m(s || i) AS cy FROM t WHERE k < 7)"
    " SELECT i FROM c WHERE pick(s || i) <> '2' AND either('q' || i)",
    "WITH c AS NOT MATERIALIZED"
    " (SELECT i, flag, m(s || i) AS y FROM t WHERE k < 6 AND g(s || i) <> '5')"
    " SELECT i FROM c WHERE flag AND g('c' || i) < '4'"
    " AND EXISTS (SELECT 1 FROM c d WHERE d.i = c.i + 1)",
    "SELECT i, g('w' || i) AS s FROM t WHERE m(COALESCE(s, 'none')) IS NULL"
    " AND (flag OR m('o' || i)) AND COALESCE(m(s || k), 'x') = 'x'",
    "SELECT * FROM (SELECT *, m(s || i) AS a FROM t WHERE m(s || i) = 'false') WHERE a = 'true'",
    "SELECT i FROM (SELECT i, s, m(s || i) AS a FROM t) WHERE a = 'true' AND m(s || i) = 'false'",
    "WITH c AS (SELECT i, s, m(s || i) AS a FROM t WHERE m(s || i) = 'true')"
    " SELECT i FROM c WHERE a = 'false' AND g(s || i) = '1'",
    "SELECT i FROM (SELECT i, s, g(s || i) AS a FROM t) WHERE a > '4' AND g(s || i) < '2'",
    "SELECT m(s || i) y, count(*) FROM t WHERE m(s || i) = 'true' GROUP BY y HAVING y = 'false'",
    "SELECT m(s || i) y, count(*) FROM t GROUP BY y HAVING y = 'false' AND m(s || i) = 'true'",
    "SELECT g(s || i) AS y, i FROM t WHERE s IS NOT NULL AND m(s) IS NULL AND y IS NOT NULL"
    " ORDER BY t.k, t.i LIMIT 7",
    "SELECT g(s) AS y, COALESCE(y, m(s || i)) FROM t",
    "SELECT g(s || k) AS z, i FROM t WHERE g('p ' || s) IN ('1', '2') LIMIT 3",
    "SELECT i FROM t WHERE CASE g('p ' || s) WHEN '1' THEN true WHEN '2' THEN true END LIMIT 3",
    "SELECT k, max(g(s)) FILTER (g(s || i)::INT > 2) AS y FROM t GROUP BY k"
    " HAVING count(*) > 4 AND g('h' || k) IS DISTINCT FROM '3'",
    "WITH c AS (SELECT *, m(COALESCE(s, 'none')) AS y FROM t)"
    " SELECT i FROM c WHERE m(s) = 'true' AND y = 'false'",
    "SELECT i AS a, m(s || i) AS b FROM t WHERE m(COALESCE(s, 'none')) IS NULL OR i % 7 = 1"
    " INTERSECT ALL SELECT i AS a, m(s || i) AS b FROM t WHERE s IS NOT NULL AND is_yes('p ' || s)",
    "SELECT i FROM t WHERE (m(s), k) IN (SELECT m(w), n FROM u WHERE id < 20) AND k IN (1, 2, 5)"
    " OR m(upper(s)) IS NULL OR COALESCE(m('c'), 'x') <> 'true'",
    "SELECT i FROM t WHERE (m(s), k) IN (SELECT m(w), n FROM u WHERE id < 20) AND s IS NOT NULL"
    " OR is_yes(g(s))",
    "SELECT g(s || i) AS b FROM t WHERE s IS NOT NULL OR m('c') = 'true' AND s IS NOT NULL LIMIT 7",
    "SELECT i, g(s) FROM (SELECT *, m('p ' || s) AS y FROM t WHERE m('p ' || s) = 'true') q"
    " WHERE g(COALESCE(s, 'none')) IS DISTINCT FROM '3' AND y > 'g' AND m(upper(s)) = 'true'",
    "SELECT i FROM t WHERE k = 3 OR (m(NULL) AND g(s)::INT > 2)",
    "SELECT i FROM t WHERE ((k IN (1, 2, 5) OR g('c') = g(s || l[2]))"
    " AND g(COALESCE(s, 'none')) IN ('1', '2')) AND g(s || l[2]) IS DISTINCT FROM '3'",
    "SELECT i FROM t WHERE ((m(l[1]) = 'true' AND k BETWEEN 2 AND 6)"
    " OR (flag AND COALESCE(m('c'), 'x') <> 'true')) AND m(g(COALESCE(s, 'none'))) IS NULL",
    "SELECT t.i, u.id FROM t JOIN u ON t.i = u.id AND m(s) WHERE g(w) < '4' AND g(m(s))::INT > 2"
    " AND n > 3",
    "SELECT i FROM t WHERE t.k IN (SELECT g(w)::INT FROM u WHERE n < 8) AND m(s || i) = 'true'"
    " AND EXISTS (SELECT 1 FROM u WHERE m(w || n) IS NULL AND u.id = t.i)",
    "SELECT i, i % 4 AS y, g('a' || i) FROM t WHERE flag AND is_yes(s || i)"
    " ORDER BY k % 3, g(s), i LIMIT 3 OFFSET 300",
    "SELECT i, i % 4 AS y, g('a' || i) FROM t WHERE flag OR m('o' || i)"
    " ORDER BY NOT flag, 1 LIMIT 1 OFFSET 300",
    "SELECT g(g(s)) AS z, i, k + 1 AS kk FROM t WHERE flag OR g(s) < '4' AND z < '3'"
    " LIMIT 7 OFFSET 2",
    "SELECT i + 1 AS i, flag, m('b' || i) AS s FROM t ORDER BY g(s), s || i, t.i LIMIT 9",
    "SELECT m(s) IS NULL AS y, upper(m('o' || i)) AS y FROM t WHERE flag ORDER BY y, i LIMIT 4",
    "SELECT m(s) IS NULL, s AS y FROM t WHERE k < 3 AND g(s) < '5' ORDER BY upper(y), i LIMIT 9",
    "SELECT s, m(s) IS NULL AS k FROM t WHERE flag AND g(s) < '5' ORDER BY k + 1, t.i LIMIT 4",
    "SELECT i, m('x' || s) FROM t WHERE t.k IN (SELECT g(w)::INT FROM u WHERE n < 8)"
    " AND m('p ' || i) IS NULL AND g('p ' || i) IN ('1', '2')",
    "SELECT i + 1 AS y, m(s), k AS i FROM t WHERE y < 90 AND g(s) < '5' ORDER BY k, t.i LIMIT 4",
    "SELECT i, y FROM (SELECT *, g(s) AS y FROM t WHERE (SELECT max(n) FROM u WHERE m(w)"
    " AND u.n = t.k AND n IN (1, 5, 7) AND n < 3) > t.k) t"
    " WHERE g(s || i) IN ('1', '2') AND y IS NOT NULL",
    "SELECT t.k, count(*) FROM t GROUP BY t.k HAVING g(min(s)) IN ('1', '2')"
    " AND t.k = ANY (SELECT u.k FROM u WHERE m(w || n) AND g('c') < '4' AND u.id = t.k)"
    " AND t.k > 2",
    "INSERT INTO e SELECT i, y FROM (SELECT *, g(s) AS y FROM t WHERE (SELECT max(n) FROM u"
    " WHERE m(w) AND u.n = t.k AND n < 3) > t.k) t WHERE g(s || i) IN ('1', '2')",
    "SELECT i, y FROM (SELECT *, g(s) AS y FROM t WHERE t.k < ALL (SELECT n FROM u WHERE n > 3"
    " AND COALESCE(m(w || n), 'x') <> 'true' AND n < 3)) t"
    " WHERE m('p ' || i) IS NULL AND s LIKE '%1%'",
    "SELECT i, CASE WHEN flag THEN m(s || i) WHEN g('a' || i) > '3' THEN 'x' ELSE m(s || i) END"
    " FROM t",
    "SELECT i, CASE WHEN g('a' || i) > '3' THEN 'x' ELSE m(s || i) END,"
    " CASE WHEN k < 3 THEN m(s || i) END FROM t",
    "SELECT i, if(flag, m(g(s || i)), m(s || i)), if(m(s), g(g(s || i)), g(s)) FROM t"
    " WHERE m(s || i)",
    "SELECT i, CASE g(s) WHEN '1' THEN g(s) WHEN 'true' THEN NULL ELSE m(s || i) END,"
    " COALESCE(nullif(m(s || i), 'true'), g('p ' || i)) FROM t",
    "SELECT i, CASE WHEN k < 3 THEN g(s || i) ELSE g('p ' || i) END,"
    " COALESCE(nullif(m(s), 'true'), m(g(s || i))) FROM t",
    "SELECT CASE WHEN flag THEN g('p ' || i) ELSE m(g(s || i)) END AS y, count(*),"
    " max(COALESCE(m(s || i), g(s || i), 'none')) FROM t"
    " GROUP BY CASE WHEN flag THEN g('p ' || i) ELSE m(g(s || i)) END",
    "SELECT i FROM t WHERE k = ANY (SELECT u.k FROM u WHERE m(w || id)) AND ((i % 7 = 1 OR"
    " g(g(s || i)) < '4') AND (i % 7 = 1 OR g('p ' || i) IN ('1', '2')))"
    " OR (m(g(s || i)) AND g('p ' || i) IN ('1', '2'))",
    "SELECT i FROM t WHERE CASE WHEN g(s) < '4' THEN s WHEN k < 3 THEN NULL END < '4' AND flag",
    "SELECT k, max(g(s)) FILTER (k = 3 AND m('p ' || s) AND g('c') IN ('1', '2')) AS y FROM t"
    " WHERE g(s) IS DISTINCT FROM '3' OR flag GROUP BY k",
    "DELETE FROM t WHERE i IN (SELECT id FROM u WHERE m(w) IS NULL) AND m(s || i)",
    "DELETE FROM t WHERE i IN (SELECT id FROM u WHERE g(w) IS DISTINCT FROM '3') AND NOT m(s || k)",
    "SELECT i, i % 4 AS y, g('a' || i) FROM t WHERE m(g(s)) IS NULL AND (k IN (1, 2, 5)"
    " OR m(NULL) = 'true') AND m(g(s)) LIKE 't%' ORDER BY k % 3, g(s), i LIMIT 30",
    "SELECT i, yes FROM v, near(2, 20) n WHERE v.i = n.id AND yes = 'true' AND m(v.s) = 'false'"
    " AND g(n.w) = '3'",
    "SELECT * FROM near(2, 30) WHERE mark < '2' AND g(w) > '4' AND m(w)",
    "SELECT m(s || k) AS z, i, g(z || i) AS b FROM t WHERE COALESCE(m(s || k), 'x') <> 'true'"
    " OR g(g(s)) IS DISTINCT FROM '3' OR k IN (1, 2, 5) AND z IS NOT NULL LIMIT 7 OFFSET 2",
    "SELECT i, *, k AS y FROM t WHERE is_yes(s || i) AND (k BETWEEN 2 AND 6 AND g(s) < '4')"
    " AND (g(s) IN ('1', '2') AND flag) ORDER BY y, i LIMIT 3",
    "DELETE FROM t USING u WHERE t.i = u.id AND g(w) IS DISTINCT FROM '3' AND m(w) IS NULL",
    "SELECT i FROM t WHERE (s IS NULL AND m(s || i) = 'true')"
    " OR (m(s || i) = 'true' AND m('p ' || i) = 'true')",
    "SELECT i, CASE WHEN m(g(s || i)) = 'true' THEN m('p ' || i) WHEN (m(s) IS NULL"
    " AND m(g(s || i)) = 'true') THEN m('p ' || i) ELSE 'x' END FROM t WHERE i % 7 = 1",
    "SELECT i, y FROM (SELECT i, k, s, flag, CASE g(s) WHEN '1' THEN g(s) WHEN 'true' THEN NULL END"
    " AS y FROM t WHERE ((flag OR m(s || i)) AND m(s))"
    " OR (g(s) < '4' AND (flag OR m('p ' || i) IS NULL))) q WHERE 'true' = y",
    "SELECT i, m('p ' || i) FROM t WHERE (m(s) IS NULL AND (s IS NULL OR m('p ' || i) = 'true'))"
    " OR (m(g(s || i)) = 'true' AND (s IS NULL OR NOT m('p ' || i))) ORDER BY k, i LIMIT 20",
    "SELECT k AS z, i + 1 AS k FROM t WHERE z > '2' AND m(s) = 'true' ORDER BY i DESC, t.i LIMIT 9",
    "SELECT k AS y, i AS k FROM t WHERE m('w' || i) = 'true'"
    " ORDER BY NOT flag, y || 'x', t.i LIMIT 1",
    "SELECT i FROM t WHERE m(g(s)) <> 'x' OR m(upper(s)) <> 'x' OR i < 50",
    "SELECT CASE WHEN m(g(s)) = 'true' AND m(upper(s)) = 'true' THEN 1 ELSE 2 END FROM t",
    "SELECT CASE WHEN (g(s) = '4' AND m(s) = 'true') OR (g(upper(s)) = '5' AND m(s) = 'true')"
    " THEN 1 END FROM t",
    "SELECT i, COALESCE(CASE WHEN (g(s) = '4' AND m(s) = 'true') OR m(s) = 'true' THEN 1 END, 5) FROM t",
    "SELECT i, CASE WHEN m(g(s)) > 'true' AND m(reverse(s)) > 'true' THEN 1"
    " WHEN m(reverse(s)) > 'true' AND m(g(s)) <= 'true' AND (m(g(s)) = 'true' AND g(m(s)) <> '1')"
    " THEN 2 END FROM t",
    "SELECT if(m(m(s)) AND g(s) > '2', s || i, s) AS y, count(*) FROM t GROUP BY y",
    "SELECT DISTINCT if(m(m(s)) AND g(s) > '2', s || i, s) AS y FROM t",
    "SELECT y, count(*) FROM (SELECT if(m(m(s)) AND g(s) > '2', s || i, s) AS y FROM t) GROUP BY y",
    "SELECT CASE WHEN g(s || i) IN ('1', 'true') AND g(s) >= '4' THEN s || i ELSE s END AS y FROM t GROUP BY y",
    "SELECT y FROM (SELECT if(m(g(s)) OR g(s) < '4' OR m(s) BETWEEN '1' AND '3', 'x', s) AS y FROM t)"
    " WHERE y IS NOT NULL",
    "SELECT i FROM t WHERE m('p ' || s) IS DISTINCT FROM '3' OR m(s) IS NULL OR (flag AND s IS NULL)"
    " OR g(upper(s)) IS DISTINCT FROM '3'",
    "SELECT count(*) FILTER (m('p ' || s) = 'true' OR (flag AND m('p ' || s) = 'true' AND g(s) > '2'))"
    " FROM t GROUP BY k",
    "SELECT max(CASE WHEN m(s) = 'true' THEN 'x' ELSE CASE WHEN g(s) IS DISTINCT FROM '3' THEN s END END),"
    " sum(CASE WHEN g(s) IS DISTINCT FROM '3' AND NULL = s THEN 1 END) FROM t GROUP BY k",
    "SELECT NOT ((m(upper(s)) = 'true' AND g(s || i) IS NULL) OR g(s || i) IS NULL)"
    " AND CASE WHEN g(s || i) IS NULL THEN flag ELSE m(upper(s)) = 'x' END FROM t",
    "SELECT if(NULL = 'x' AND i % 7 = 1 AND m(s) = 'true', s, s || 'b') FROM t",
    "SELECT i FROM t WHERE g(s) = g(upper(s)) AND g(s) = '3' AND g(upper(s)) = '4'",
    "WITH c0 AS NOT MATERIALIZED (SELECT i, k, s || k AS s, flag FROM t), c1 AS NOT MATERIALIZED"
    " (SELECT * FROM c0 WHERE substr(s, 6)::INT < 30 UNION SELECT i, k, s, flag FROM t), c2 AS"
    " (SELECT * FROM c1 SEMI JOIN (SELECT id, n FROM u) u ON n = k AND id < 6 WHERE"
    " m(s || i) = 'true') SELECT flag, count(*), max(CASE WHEN flag THEN g(s) END) FROM c2"
    " WHERE m(g(s)) IS NULL GROUP BY 1",
    "SELECT i, k, s, CASE WHEN flag THEN g(s) END FROM (SELECT i, k, s, flag FROM t SEMI JOIN"
    " (SELECT id, n FROM u) u ON id = i WHERE s IS NOT NULL) t WHERE m(s || i) = 'true'"
    " ORDER BY k, i, s LIMIT 20",
    "WITH c0 AS (SELECT i, count(*) OVER (PARTITION BY flag) AS k, s, flag FROM t WHERE i < 120 AND"
    " m(g(s)) IS NULL) SELECT i, k FROM c0 WHERE g('p ' || s) IN ('1', '2') AND NOT flag AND"
    " i < 120",
]
"""What a generator found, each of another kind: calls too many, or other rows."""


TRIED = [
    "SELECT m('c') FROM t ORDER BY i LIMIT 2",
    "INSERT INTO e(s) SELECT m('c') FROM t ORDER BY i LIMIT 2",
    "SELECT * FROM t WHERE k::VARCHAR < (SELECT g('c') FROM u ORDER BY id LIMIT 1)",
    "WITH c AS (SELECT i, concat(m(s),'u') AS y FROM t), d AS (SELECT g(y||i) AS z FROM c) "
    "SELECT z FROM d",
    "WITH c AS (SELECT i, COALESCE(m(s||i),'u') AS y FROM t), d AS (SELECT i, "
    "COALESCE(g(y||i),'v') AS z FROM c) SELECT m(z||i) FROM d",
    "SELECT list_transform(list_filter(l, lambda x: COALESCE(m(x),'f')='f'), lambda y: "
    "g(y||i)) FROM t",
    "SELECT list_transform(list_transform(l, lambda x: concat(m(x),i)), lambda y: g(y)) FROM t",
    "SELECT list_filter(list_transform(l, lambda x: ifnull(g(x),'n')), lambda y: m(y||i)) FROM t",
    "SELECT list_transform([concat(m(s),i)], lambda y: g(y)) FROM t",
    "SELECT i, list_reduce(l, lambda a,b: m(ifnull(a,'n')||b), 'init') FROM t WHERE k<4",
    "SELECT i FROM t WHERE m(l[1]) IS NULL AND len(list_filter(l, lambda x: g(x||i)<'3')) > 0",
    "SELECT i FROM t WHERE g(s) IS NULL AND len(list_filter(l, lambda x: g(x||i)<'3')) > 0",
    "SELECT i, list_transform(l, lambda x: CASE WHEN m(s) THEN g(x||i) ELSE m(x) END) FROM t "
    "WHERE COALESCE(NOT m(l[1]), m(g(s)) IS NOT TRUE) AND len(list_filter(l, lambda x: m(s||i) "
    "AND m(x||i)))>0",
    "SELECT i FROM t WHERE 'true' IN (m(s), m(s||i))",
    "SELECT CASE WHEN 'true' IN (m(s),m(s||i)) THEN g(s) ELSE g(s||i) END FROM t",
    "SELECT i FROM t WHERE m('z'||i) IN (m(s),m(s||i),m('q'||k)) AND flag",
    "SELECT i FROM t WHERE k IN (g(s)::INT,g(s||i)::INT) AND flag",
    "SELECT i FROM t WHERE (g(s),m(s)) IN (('1','true'),('2',m('q'||i)))",
    "SELECT i FROM t WHERE 'false' IN (m(s),m(s||i),g('q'||i)) AND g(s||k)<'4'",
    "SELECT i FROM t WHERE g(s) IN (g(s||i),g('c'),g('d'||k))",
    "SELECT i FROM t WHERE 'true' NOT IN (m(s),m(s||i),m('q'||k)) AND flag",
    "SELECT t.i FROM t JOIN u ON t.i=u.id AND 'true' IN (m(s),m(w))",
    "SELECT g('p'||i) AS y, y AS z FROM t WHERE m('p'||i) AND z < '4'",
    "SELECT g('p'||i) AS y, upper(y) AS z FROM t WHERE m('p'||i) AND z < '4'",
    "WITH RECURSIVE r(n,x) AS (SELECT 1,'a' UNION ALL SELECT n+1, COALESCE(g(x||n),'z') FROM r "
    "WHERE n<9) SELECT n,x FROM r",
    "WITH RECURSIVE r(n,x) AS (SELECT 1,'a' UNION SELECT n+1, concat(g(x),n) FROM r WHERE n<6 "
    "AND COALESCE(m(x),'q')<>'true') SELECT n,x FROM r",
    "SELECT y, count(*) FROM (SELECT g(s||i) AS y FROM t) q GROUP BY y HAVING m('h'||count(*))",
    "UPDATE t SET s = 'x' WHERE g(s || k) BETWEEN m(l[1]) AND g(s) AND NOT flag",
    "SELECT i FROM t WHERE s BETWEEN 'x' AND m(g(s)) AND i < 50",
    "SELECT k, count(CASE WHEN m(g(s)) IS NULL THEN 'x' WHEN m(g(s)) IS NULL THEN m(l[1]) END)"
    " FILTER ((m(COALESCE(s, 'none')) AND g(l[1]) < '4')), sum((m(s || k))::INT),"
    " max((SELECT max(CASE WHEN g(g(w)) IN ('1', '2') THEN g(w || id) ELSE m('q' || n) END)"
    " FROM u WHERE u.id = t.i)) FROM t WHERE s BETWEEN m(s) AND 'x' AND i % 7 = 1 GROUP BY k",
    "WITH c AS NOT MATERIALIZED (SELECT i, k, g(s) AS s FROM t WHERE i // 2 < 40)"
    " SELECT a.i, a.s FROM c a JOIN c b ON a.i = b.i WHERE b.s IS NULL AND b.k < 6",
    "WITH c AS NOT MATERIALIZED (SELECT i, k, CASE WHEN flag THEN g(s) END AS s FROM t WHERE i // 2 < 40)"
    " SELECT a.i, m(a.s) FROM c a WHERE a.i IN (SELECT i FROM c WHERE m(g(s)) IS NULL AND k < 6)",
    "SELECT {'a': i, 'b': m(g(s))}.a, CASE WHEN NOT m(s) = '1' THEN s ELSE m(g(s)) END FROM t",
    "SELECT i, y FROM (SELECT i, k, s, flag, unnest([g(s), g(s || i)]) AS y FROM t WHERE g(s) <> '1'"
    " AND g(s) IN ('1', '2') AND flag) WHERE k IN (1, 2, 5) AND m(s || i) <> '1' AND m(s || i) IS NULL"
    " AND y > '2'",
    "SELECT i, y FROM (SELECT i, k, s, unnest([g(s || i), m(s || i)]) AS y FROM t)"
    " WHERE k IN (1, 2, 5) AND g(s || i) <> '1' AND m(g(s)) IN ('1', '2') AND y > '2'",
    "SELECT i, y FROM (SELECT i, s, list_transform(l, lambda x: m(x || i)) AS y FROM t"
    " WHERE g(s || k) < '4' AND m(s || i) IN ('1', '2')) WHERE y IS NOT NULL OR s LIKE '%1%'",
    "SELECT y, i FROM (SELECT i, s, flag, g(s || i) AS y FROM t WHERE m('p ' || s) IS NULL OR i % 7 = 1)"
    " WHERE y = '1' OR flag",
    "SELECT i, coalesce(g(s || i), g('p ' || s)) FROM t WHERE g('p ' || s) < '4'"
    " AND g('p ' || s) IN ('1', '2') AND g(s) IN ('1', '2') ORDER BY k, i LIMIT 20",
    "SELECT y, i FROM (SELECT *, m(s) AS y FROM t WHERE g(s) IN ('1', '2') OR true) WHERE g(s || i) IS NULL",
    "SELECT i, g(s) FROM t WHERE g('p ' || s)::INT > 2 OR true QUALIFY g(s) IS DISTINCT FROM '3'"
    " AND row_number() OVER (PARTITION BY k ORDER BY m(s) DESC, i) < 4",
    "SELECT i FROM (SELECT DISTINCT i, s, flag, m(COALESCE(s, 'none')) AS y FROM t WHERE g(s)::INT > 2"
    " AND m('c') AND i < 50) q WHERE y IS NULL AND m(s || i) AND flag",
    "SELECT i, 'x', nullif(g('p ' || s), CASE WHEN coalesce(flag, g(s) IN ('1', 'true')) THEN"
    " CASE WHEN g(s) IN ('1', 'true') THEN NULL WHEN flag THEN 'x' ELSE s END WHEN (m(upper(s))"
    " IN ('1', 'true') AND g(s) IN ('1', 'true') AND m(g(s)) BETWEEN '1' AND '3') THEN CASE WHEN"
    " m(g(s)) BETWEEN '1' AND '3' THEN s WHEN m(g(s)) BETWEEN '1' AND '3' THEN g('p ' || s) ELSE"
    " NULL END ELSE coalesce(s, NULL) END) FROM t WHERE NOT (g(lower(s)) > '2')",
    "SELECT i, g(m(s)) IN ('1', 'true') AND (CASE WHEN (g(upper(s)) = NULL) THEN"
    " coalesce(g(upper(s)), s) WHEN NOT (g(lower(s)) > '2') THEN NULL ELSE coalesce(g(upper(s)),"
    " s) END = CASE WHEN (NULL = m(upper(s))) THEN nullif('x', NULL) WHEN (NOT (g(lower(s)) >"
    " '2') OR g(m(s)) IN ('1', 'true')) THEN nullif('x', NULL) ELSE CASE WHEN g(m(s)) IN ('1',"
    " 'true') THEN 'x' WHEN NOT (g(lower(s)) > '2') THEN g(upper(s)) ELSE NULL END END), g(m(s))"
    " IN ('1', 'true') OR (CASE WHEN (g(upper(s)) = NULL) THEN coalesce(g(upper(s)), s) WHEN NOT"
    " (g(lower(s)) > '2') THEN NULL ELSE coalesce(g(upper(s)), s) END = CASE WHEN (NULL ="
    " m(upper(s))) THEN nullif('x', NULL) WHEN (NOT (g(lower(s)) > '2') OR g(m(s)) IN ('1',"
    " 'true')) THEN nullif('x', NULL) ELSE CASE WHEN g(m(s)) IN ('1', 'true') THEN 'x' WHEN NOT"
    " (g(lower(s)) > '2') THEN g(upper(s)) ELSE NULL END END) FROM t WHERE i < 90",
    "SELECT i, CASE WHEN (m(g(s || i)) AND g(s) < '4') THEN NULL WHEN g(s) IN ('1', '2') THEN"
    " g(s || i) ELSE NULL END, CASE m(s) WHEN '1' THEN g('p ' || i) WHEN 'true' THEN g(s || i)"
    " ELSE m(s) END, CASE WHEN (g('p ' || i) < '4' OR m(s) = 'true') THEN 'x' WHEN m(s || i) IS"
    " NULL THEN 'x' ELSE m(g(s || i)) END FROM t WHERE (g(g(s || i)) IN ('1', '2') AND m(g(s ||"
    " i)) IS NULL) OR (k IN (1, 2, 5) AND i % 7 = 1) ORDER BY i DESC LIMIT 20",
    "SELECT i, COALESCE(nullif(g(s || i), 'true'), g(s)), CASE WHEN (k < 3 OR g(s || i) IN ('1',"
    " '2')) THEN g(s || i) ELSE g(s) END, m(s) FROM t ORDER BY k, i LIMIT 3",
    "SELECT i FROM (SELECT i, k, s, flag, l FROM (SELECT i, k, g(g(s || i)) AS s, flag, l FROM t"
    " WHERE ((t.k >= (SELECT count(*) FROM u WHERE u.n = t.k AND (g(w || id) < '2' OR n = 3))"
    " AND g('p ' || i) IN ('1', '2')) AND t.k IN (SELECT n FROM u WHERE m(w || id) AND u.id <"
    " t.i)) ORDER BY i LIMIT 60) t WHERE g(s) IN ('1', '2')) t WHERE m(g(s || i)) = 'true'",
    "SELECT i, row_number() OVER (ORDER BY m(g(s || i)), i) FROM (SELECT * FROM t WHERE (SELECT"
    " max(g(w)) FROM u WHERE u.id = t.i AND NOT m(w)) > '2' UNION ALL SELECT * FROM t WHERE"
    " flag) t WHERE ((m(g(s || i)) IS NULL OR s IS NULL)::VARCHAR = 'true' AND (SELECT max(g(w))"
    " FROM u WHERE u.id = t.i AND u.k = 2) > '2') QUALIFY row_number() OVER (PARTITION BY k"
    " ORDER BY i) < 4 AND m(s || i)",
    "SELECT i, pick(s || i) FROM tm(6) WHERE ty = 'true' AND m(s || i) = 'true'",
    "SELECT i, coalesce(m('p ' || s), m('p ' || s)), nullif(m(s || i), if(coalesce(m(g(s)) IS"
    " NULL, i % 7 = 1), m('p ' || s), if(m(g(s)) IS NULL, s, m(s || i)))) FROM t WHERE (CASE"
    " WHEN (coalesce(m(s || i), s) = NULL) THEN (coalesce(m('p ' || s) BETWEEN '1' AND '3',"
    " m(g(s)) IS NULL) AND i % 7 = 1 AND m('p ' || s) BETWEEN '1' AND '3') ELSE ((m(g(s)) IS"
    " NULL AND m('p ' || s) BETWEEN '1' AND '3' AND m('p ' || s) BETWEEN '1' AND '3') AND i % 7"
    " = 1 AND (i % 7 = 1 OR m(g(s)) IS NULL)) END)",
    "SELECT k, count(*) FILTER ((((m(upper(s)) IN ('1', 'true') AND g(s) IS NULL) OR (NULL ="
    " g('p ' || s)) OR (g(g(s)) IN ('1', 'true') OR m(upper(s)) IN ('1', 'true') OR i % 7 = 1))"
    " AND (coalesce(g(g(s)) IN ('1', 'true'), g(s) IS NULL) OR g(s) IS NULL))),"
    " max(if(((m(upper(s)) IN ('1', 'true') OR g(g(s)) IN ('1', 'true')) AND ('x' = s)),"
    " nullif(if(m(upper(s)) IN ('1', 'true'), g('p ' || s), m(s || i)), coalesce('x', 'x')),"
    " CASE WHEN m(upper(s)) IN ('1', 'true') THEN 'x' WHEN (m(s || i) = NULL) THEN coalesce('x',"
    " m(s || i)) ELSE coalesce(s, g('p ' || s)) END)), sum(CASE WHEN (m(upper(s)) IN ('1',"
    " 'true') AND ((CASE WHEN g(s) IS NULL THEN i % 7 = 1 ELSE m(m(s)) IN ('1', 'true') END) AND"
    " coalesce(i % 7 = 1, g(g(s)) IN ('1', 'true')) AND (m(s || i) = 'x')) AND (NOT"
    " coalesce(g(g(s)) IN ('1', 'true'), m(m(s)) IN ('1', 'true')))) THEN 1 END) FROM t GROUP BY"
    " k",
    "SELECT k, count(*) FILTER ((((m(upper(s)) = m(upper(s))) AND (m(upper(s)) = 'true' AND g('p"
    " ' || s) IN ('1', 'true')) AND coalesce(g(lower(s)) IN ('1', 'true'), g(lower(s)) IN ('1',"
    " 'true'))) OR ((NOT g(lower(s)) IN ('1', 'true')) OR (CASE WHEN g('p ' || s) IN ('1',"
    " 'true') THEN m(upper(s)) = 'true' ELSE m('p ' || s) = 'true' END) OR (flag OR g(lower(s))"
    " IN ('1', 'true') OR g(lower(s)) IN ('1', 'true'))) OR coalesce(flag, g('p ' || s) IN ('1',"
    " 'true')))), max(CASE WHEN flag THEN nullif(if(flag, 'x', NULL), s) WHEN ((CASE WHEN g('p '"
    " || s) IN ('1', 'true') THEN m('p ' || s) = 'true' ELSE m(upper(s)) = 'true' END) AND m('p"
    " ' || s) = 'true' AND (g(s) = s)) THEN nullif(s, nullif(m(upper(s)), m(upper(s)))) ELSE s"
    " END), sum(CASE WHEN (m(upper(s)) = 'true' AND (m('p ' || s) = 'true' AND (CASE WHEN m('p '"
    " || s) = 'true' THEN flag ELSE g('p ' || s) IN ('1', 'true') END) AND (NOT g('p ' || s) IN"
    " ('1', 'true')))) THEN 1 END) FROM t GROUP BY k",
    "SELECT i, 'x', coalesce(CASE WHEN (g('p ' || s) < '4' AND NOT (g(upper(s)) > '2') AND"
    " g(m(s)) IS DISTINCT FROM '3') THEN m(s) WHEN g('p ' || s) < '4' THEN g('p ' || s) ELSE"
    " CASE WHEN g('p ' || s) < '4' THEN s WHEN g(upper(s)) BETWEEN '1' AND '3' THEN s ELSE m(s)"
    " END END, CASE WHEN i % 7 = 1 THEN m(s) WHEN ('x' = m(s)) THEN CASE WHEN i % 7 = 1 THEN 'x'"
    " WHEN g(upper(s)) BETWEEN '1' AND '3' THEN s ELSE m(s) END ELSE m(s) END) FROM t WHERE (NOT"
    " g(upper(s)) BETWEEN '1' AND '3')",
    "SELECT i, y FROM (SELECT i, k, s, flag, nullif(CASE WHEN m(g(s)) IS DISTINCT FROM '3' THEN"
    " nullif(s, NULL) WHEN m(upper(s)) IS NULL THEN if(flag, 'x', s) ELSE s END, if((NOT"
    " m(upper(s)) = 'true'), 'x', g(s || i))) AS y FROM t) WHERE y IS NOT NULL AND (CASE WHEN"
    " (NULL = g(s || i)) THEN m(upper(s)) IS NULL ELSE (CASE WHEN (g(s || i) = NULL) THEN (CASE"
    " WHEN flag THEN g(lower(s)) < '4' ELSE m(g(s)) IS DISTINCT FROM '3' END) ELSE (m(g(s)) IS"
    " DISTINCT FROM '3' AND flag AND g(lower(s)) < '4') END) END)",
    "SELECT if(((NULL = g('p ' || s)) AND m(s || i) BETWEEN '1' AND '3' AND (NOT (g('p ' || s) >"
    " '2') AND m(s || i) BETWEEN '1' AND '3')), 'x', coalesce(coalesce(s, g(g(s))),"
    " coalesce(g(g(s)), 'x'))) AS y, count(*) FROM t GROUP BY y",
    "SELECT i, (k IN (1, 2, 5) OR NOT m(g(s || i)))::VARCHAR, g(s), CASE m(g(s || i)) WHEN '1'"
    " THEN g(g(s || i)) WHEN 'true' THEN 'x' ELSE 'x' END FROM t WHERE CASE WHEN m(s || i) IS"
    " NULL THEN 'x' WHEN NOT flag THEN s END < '4' ORDER BY k, i LIMIT 3",
    "SELECT i FROM (SELECT *, m(s || k) AS y FROM t) q WHERE m(s || k) = 'false' AND y = 'false'"
    " AND g(upper(s)) < '4'",
    "SELECT i, m(s) FROM (SELECT i, k, s, m(s || i) IS NULL AS flag, l FROM (SELECT t.* FROM t"
    " JOIN u ON t.i = u.id WHERE u.k = 2) t WHERE t.i NOT IN (SELECT id FROM u WHERE n > 3)"
    " ORDER BY g(s), i LIMIT 40) t WHERE flag",
    "SELECT i, y FROM (SELECT i, k, s, flag, nullif(coalesce(m(upper(s)), nullif(NULL, 'x')),"
    " 'x') AS y FROM t) WHERE y IS NOT NULL AND (m(upper(s)) IN ('1', 'true') AND flag)",
    "WITH c0 AS (SELECT i, k, s, flag FROM t WHERE (i + k) % 3 <> 1 AND k IN (1, 2, 5))"
    " SELECT i, k, s, m(s) FROM c0 WHERE m(s || i) = 'true' ORDER BY i DESC, k, s LIMIT 20",
]
"""What somebody found who set out to break it: calls too many, or an error of ours."""


class Sides:
    """Both sides with the same tables."""

    def __init__(self, tables: str) -> None:
        self.ours, self.plain = Ours(tables), Plain(tables)

    def compare(self, sql: str) -> None:
        one, other = self.ours.run(sql), self.plain.run(sql)
        assert (one.error, one.names) == (other.error, other.names), sql
        assert same_rows(sql, one.rows, other.rows), sql
        assert one.error or one.calls <= other.calls, sql

    def compare_tables(self, *tables: str) -> None:
        for table in tables:
            sides = [
                side.con.execute(f"FROM {table}").fetchall() for side in (self.ours, self.plain)
            ]
            assert sorted(map(repr, sides[0])) == sorted(map(repr, sides[1])), table

    def restore(self) -> None:
        for con in (self.ours.con, self.plain.con):
            for table in ("t", "e"):
                con.execute(f"CREATE OR REPLACE TABLE {table} AS FROM {table}0")
            con.execute("DELETE FROM pk; INSERT INTO pk FROM pk0")

    def close(self) -> None:
        self.ours.con.close()
        self.plain.close()


@pytest.fixture
def small() -> Iterator[Sides]:
    yield from on_one_thread(TABLES + DEFINITIONS + rare.DEFINITIONS)


@pytest.fixture
def large() -> Iterator[Sides]:
    yield from on_one_thread(LARGE)


def on_one_thread(tables: str) -> Iterator[Sides]:
    """How far two get before an end, and whose rows come first, is for chance to say."""
    made = Sides(tables)
    for con in (made.ours.con, made.plain.con):
        con.execute("SET threads = 1")
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(3000, 3004))
def test_subqueries_that_ask_in_conditions(small: Sides, seed: int) -> None:
    """Wherever a condition's subquery asks, its neighbours ask no more for it."""
    generator = Subqueries(seed)
    for _ in range(10):
        small.compare(generator.statement())


@pytest.mark.parametrize("seed", range(4000, 4004))
def test_calls_in_views_and_macros(small: Sides, seed: int) -> None:
    """A call that the text does not show waits for the others, and they for it."""
    generator = Hidden(seed)
    for _ in range(10):
        small.compare(generator.statement())


@pytest.mark.parametrize("seed", range(5000, 5008))
def test_clauses_that_are_rare(small: Sides, seed: int) -> None:
    """From PIVOT to MERGE, rows, tables and errors are DuckDB's, and calls no more."""
    generator = rare.Rare(seed)
    for _ in range(10):
        small.compare(generator.statement())
        small.compare_tables("t", "e", "pk")
        small.restore()


@pytest.mark.parametrize("seed", range(7000, 7006))
def test_branches_that_ask_one_thing(small: Sides, seed: int) -> None:
    """Not every row comes to each, and none is asked for the sake of another branch."""
    generator = Branches(seed)
    for _ in range(10):
        small.compare(generator.statement())
        small.compare_tables("t", "e")
        small.restore()


@pytest.mark.parametrize("seed", range(9000, 9004))
def test_conditions_that_cost_the_same(small: Sides, seed: int) -> None:
    """Which DuckDB asks first is not for our arguments to say."""
    generator = Alike(seed)
    for _ in range(10):
        small.compare(generator.statement())


@pytest.mark.parametrize("seed", range(12000, 12004))
def test_choices_inside_choices(small: Sides, seed: int) -> None:
    """What all rows come to, and what not each does, is what DuckDB takes for it."""
    generator = Choices(seed)
    for _ in range(10):
        small.compare(generator.statement())


@pytest.mark.parametrize("seed", range(8000, 8006))
def test_anything_inside_anything(small: Sides, seed: int) -> None:
    """Subqueries, joins, branches and groups of one another."""
    generator = Nested(seed)
    for _ in range(10):
        small.compare(generator.statement())
        small.compare_tables("t", "e")
        small.restore()


@pytest.mark.parametrize("seed", range(9000, 9006))
def test_rows_that_are_chosen_before(small: Sides, seed: int) -> None:
    """Sorted, grouped, told apart, numbered: none is asked about that plain DuckDB does not."""
    generator = Chosen(seed)
    for _ in range(15):
        small.compare(generator.statement())
        small.compare_tables("t", "e")
        small.restore()


@pytest.mark.parametrize("seed", range(11000, 11006))
def test_queries_in_layers(small: Sides, seed: int) -> None:
    """Each narrows or widens the one below, as models of a warehouse do."""
    generator = Layered(seed)
    for _ in range(15):
        small.compare(generator.statement())


@pytest.mark.parametrize("seed", range(6000, 6006))
def test_names_that_mean_several_things(small: Sides, seed: int) -> None:
    """An alias or the column of that name, of two aliases the last: as DuckDB has it."""
    generator = Aliased(seed)
    for _ in range(15):
        small.compare(generator.statement())


@pytest.mark.parametrize("sql", numbered(ENDING))
def test_an_early_end_is_an_early_end(large: Sides, sql: str) -> None:
    """Where DuckDB stops before all rows are asked about, so do we."""
    large.compare(sql)


@pytest.mark.parametrize("sql", numbered([*FOUND, *TRIED]))
def test_what_was_found_stays_mended(small: Sides, sql: str) -> None:
    """Each once made more calls than a function alone, or gave other rows."""
    small.compare(sql)
