-- rows
-- A column of a subquery stays monotonic.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":60000,"json":{"k":"a","n":2}}
-- output D {"W":"1970-01-01 00:00:00.000","C":1,"T":"1970-01-01 00:01:00.000"}
CREATE STREAM d (w TIMESTAMP, c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM w, COUNT(*), ROWTIME FROM (SELECT STREAM FLOOR(x.ROWTIME TO MINUTE) AS w, "n" FROM "SOURCE_SQL_STREAM_001" AS x) AS s GROUP BY w;
