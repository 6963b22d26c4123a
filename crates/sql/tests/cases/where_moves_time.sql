-- rows
-- A row that WHERE drops moves time.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":60000,"json":{"k":"b","n":1}}
-- output D {"C":1}
CREATE STREAM d (c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s WHERE "k" = 'a' GROUP BY FLOOR(s.ROWTIME TO MINUTE);
