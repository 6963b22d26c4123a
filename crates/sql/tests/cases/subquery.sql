-- rows
-- A subquery in FROM.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":5}}
-- output D {"V":10}
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.m * 2 FROM (SELECT STREAM "n" AS m FROM "SOURCE_SQL_STREAM_001" WHERE "n" > 2) AS t;
