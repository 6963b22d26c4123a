-- rows
-- USING joins by name; the column is named once.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"K":"a","N":1,"M":1}
CREATE STREAM d (k VARCHAR(9), n INTEGER, m INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM (SELECT STREAM "k", "n" FROM "SOURCE_SQL_STREAM_001") AS a JOIN (SELECT STREAM "k", "n" AS m FROM "SOURCE_SQL_STREAM_001") AS b USING ("k");
