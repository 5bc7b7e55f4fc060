-- Keep answers: CREATE TABLE AS, INSERT, UPDATE, COPY. A write happens once, after all its calls.
--   llmsql examples/sql/05_write.sql
-- Runs anywhere: the model echoes its prompt.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask'
  AND backend.fail_on='kettle';

-- A row whose call fails becomes NULL, and the statement ends with one warning that counts them.
CREATE TABLE labelled AS
SELECT id, product, ask('label of ' || product) AS label
FROM 'examples/data/reviews.csv'
WHERE id <= 4;

FROM labelled ORDER BY id;

-- Asked again only about what is new: the answers of this session are known.
INSERT INTO labelled
SELECT id, product, ask('label of ' || product)
FROM 'examples/data/reviews.csv'
WHERE id BETWEEN 5 AND 7;

-- UPDATE overwrites what is there, so that a failing call stops it: this one leaves the kettle out.
UPDATE labelled SET label = upper(ask('a new label of ' || product))
WHERE id < 3 AND product != 'kettle';

DELETE FROM labelled WHERE ask(label) LIKE '%puzzle';

FROM labelled ORDER BY id;
