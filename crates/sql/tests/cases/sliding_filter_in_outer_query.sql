-- rows
-- A windowed function is filtered in an outer query.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":5}}
-- output D {"S":6}
CREATE STREAM d (s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.total FROM (SELECT STREAM SUM("n") OVER (ROWS 5 PRECEDING) AS total FROM "SOURCE_SQL_STREAM_001") AS t WHERE t.total > 5;
