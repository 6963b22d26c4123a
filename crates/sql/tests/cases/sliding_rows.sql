-- rows
-- ROWS 2: the current row and the two before.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"t":2,"json":{"k":"a","n":4}}
-- input {"t":3,"json":{"k":"a","n":8}}
-- output D {"S":1}
-- output D {"S":3}
-- output D {"S":7}
-- output D {"S":14}
CREATE STREAM d (s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") OVER (ROWS 2 PRECEDING) FROM "SOURCE_SQL_STREAM_001";
