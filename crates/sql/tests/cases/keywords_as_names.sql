-- rows
-- Reserved words as names where the grammar leaves no doubt.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"VALUE":1,"TIMESTAMP":"a","YEAR":1,"COUNT":2}
CREATE STREAM d (value INTEGER, timestamp VARCHAR(9), year INTEGER, count INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM value, timestamp, year, x.count FROM (SELECT STREAM "n" AS value, "k" AS timestamp, "n" AS year, "n" + 1 AS count FROM "SOURCE_SQL_STREAM_001") AS x;
