-- rows
-- The epoch idiom with minute / 1 TO MINUTE.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":59999,"json":{"k":"a","n":1}}
-- input {"t":60000,"json":{"k":"a","n":2}}
-- input {"bound":120000}
-- output D {"C":1,"T":"1970-01-01 00:01:00.000"}
-- output D {"C":1,"T":"1970-01-01 00:02:00.000"}
CREATE STREAM d (c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR((s.ROWTIME - TIMESTAMP '1970-01-01 00:00:00') minute / 1 TO MINUTE);
