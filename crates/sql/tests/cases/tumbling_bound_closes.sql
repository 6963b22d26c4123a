-- rows
-- A bound closes a window; no empty windows.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1000,"json":{"k":"a","n":1}}
-- input {"bound":300000}
-- output D {"C":1,"T":"1970-01-01 00:01:00.000"}
CREATE STREAM d (c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
