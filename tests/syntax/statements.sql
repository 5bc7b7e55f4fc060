-- What is typed; what it means in canonical form. `-- error:` states the message's first line.

!LLM setup single;
!llm setup single;

!byzerllm setup single
;
!llm setup single;

!llm setup "num_gpus=1";
!llm setup 'num_gpus=1';

!llm setup num_gpus=1;
-- error: line 1, column 20: expected the end of the statement, found "="

!llm setup;
!llm setup;

!llm model list;
!llm model list;

!LLM Model Exists "chat";
!llm model exists chat;

!llm model exists;
-- error: line 1, column 18: expected <name>, found the end of the statement

!llm model remove 'my chat';
!llm model remove 'my chat';

!llm cache stat;
!llm cache stat;

!byzerllm cache clear;
!llm cache clear;

!llm cache clear Chat;
!llm cache clear Chat;

!llm cache export "answers.csv";
!llm cache export 'answers.csv';

!llm cache export;
-- error: line 1, column 18: expected <path>, found the end of the statement

!llm setup next "max_calls=5";
!llm setup next 'max_calls=5';

!llm help;
!llm help;

!llm help model;
!llm help model;

!llm help model check;
!llm help 'model check';

!llm modle list;
-- error: line 1, column 6: expected backends, cache, help, library, model or setup, found "modle"; did you mean "model"?

!nothing;
-- error: line 1, column 1: expected !llm, !python, LOAD, RUN, SAVE or SET, found "!nothing"

run command as LLM.`` where action="infer" and udfName="m";
RUN command AS LLM.`` WHERE action = 'infer' AND udfName = 'm';

RUN command AS LLM WHERE and `saas.api_key` = 'k' /* a; comment */ AND saas.model='''it's "so"''' as t;
RUN command AS LLM WHERE saas.api_key = 'k' AND saas.model = 'it\'s "so"' AS t;

RUN command AS LLM WHERE a='it''s' AND b="say ""x""" AND c='back\\slash' AND d='\'';
RUN command AS LLM WHERE a = 'it\'s' AND b = 'say "x"' AND c = 'back\\slash' AND d = '\'';

RUN command AS LLM WHERE a='';
RUN command AS LLM WHERE a = '';

RUN command ass llm WHERE udfName='m';
-- error: line 1, column 13: expected AS, found "ass"; did you mean "AS"?

RUN command AS LLM WHERE udfName=m;
-- error: line 1, column 34: expected a quoted value, as in udfName = '…', found a value without quotes

RUN command AS LLM WHERE num_gpus=1;
-- error: line 1, column 35: expected a quoted value, as in num_gpus = '…', found a value without quotes

RUN command AS LLM WHERE;
-- error: line 1, column 25: expected a key, found the end of the statement

RUN command AS LLM
  WHERE udfName 'm';
-- error: line 2, column 17: expected =, found a quoted value

RUN command AS LLM WHERE udfName='m' AND UDFNAME='n';
-- error: the key "UDFNAME" is given twice

RUN command AS LLM WHERE udfName='m;
-- error: line 1, column 34: the quote ' is not closed

RUN command AS LLM WHERE udfName='''m;
-- error: line 1, column 34: the quote ''' is not closed

RUN command AS LLM.`x WHERE udfName='m';
-- error: line 1, column 20: the quote ` is not closed

RUN command;
-- error: line 1, column 12: expected AS, found the end of the statement

RUN command AS LLM WHERE saas.api_key=sk-SECRET;
-- error: line 1, column 39: expected a quoted value, as in saas.api_key = '…', found a value without quotes

RUN command AS LLM WHERE saas.api_key='x' 'sk-SECRET';
-- error: line 1, column 43: expected the end of the statement, found a quoted value

load json.`/tmp/upload/dummy_data.jsonl` where
inferSchema="true"
as sft_data;
LOAD json.`/tmp/upload/dummy_data.jsonl` WHERE inferSchema = 'true' AS sft_data;

load text.`/a/*` options wholetext='true' as t;
LOAD text.`/a/*` WHERE wholetext = 'true' AS t;

load parquet.`/a` as t;
LOAD parquet.`/a` AS t;

load parquet.`/a`;
-- error: line 1, column 18: expected AS, found the end of the statement

run newTrainData as TableRepartition.`` where partitionNum="12" and partitionCols="file"
as finalTrainData;
RUN newTrainData AS TableRepartition.`` WHERE partitionNum = '12' AND partitionCols = 'file' AS finalTrainData;

train t as TableRepartition partitionNum="2" into u;
RUN t AS TableRepartition WHERE partitionNum = '2' AS u;

save overwrite q1 as parquet.`/tmp/q1` partitionBy k, l;
SAVE overwrite q1 AS parquet.`/tmp/q1` PARTITIONBY k, l;

save q1 as csv.`/tmp/q1.csv` where header="true";
SAVE q1 AS csv.`/tmp/q1.csv` WHERE header = 'true';

set greeting='''say "it's"; and more''' where scope="session";
SET greeting = 'say "it\'s"; and more' WHERE scope = 'session';

set greeting='''never ends;
-- error: line 1, column 14: the quote ''' is not closed
