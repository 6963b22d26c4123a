-- rows
-- WHERE comes first.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- input {"t":2,"json":{"k":"a","n":4}}
-- output D {"S":1}
-- output D {"S":5}
CREATE STREAM d (s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") OVER w FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'a' WINDOW w AS (ROWS 9 PRECEDING);
