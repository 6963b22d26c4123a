-- rows
-- Of rows of one instant only those that arrived so far.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":0,"json":{"k":"a","n":2}}
-- input {"t":0,"json":{"k":"a","n":4}}
-- output D {"S":1}
-- output D {"S":3}
-- output D {"S":7}
CREATE STREAM d (s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") OVER (RANGE CURRENT ROW) FROM "SOURCE_SQL_STREAM_001";
