-- rows
-- RANGE: both ends are in the window; one row out for each in.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":5000,"json":{"k":"a","n":2}}
-- input {"t":10000,"json":{"k":"a","n":4}}
-- input {"t":10001,"json":{"k":"a","n":8}}
-- output D {"S":1}
-- output D {"S":3}
-- output D {"S":7}
-- output D {"S":14}
CREATE STREAM d (s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") OVER w FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (RANGE INTERVAL '10' SECOND PRECEDING);
