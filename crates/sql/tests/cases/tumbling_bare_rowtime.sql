-- rows
-- Tumbling over ten seconds.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":9999,"json":{"k":"a","n":1}}
-- input {"t":10000,"json":{"k":"a","n":2}}
-- input {"t":19000,"json":{"k":"a","n":3}}
-- input {"t":20001,"json":{"k":"a","n":4}}
-- output D {"C":1,"T":"1970-01-01 00:00:10.000"}
-- output D {"C":2,"T":"1970-01-01 00:00:20.000"}
CREATE STREAM d (c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(ROWTIME BY INTERVAL '10' SECOND);
