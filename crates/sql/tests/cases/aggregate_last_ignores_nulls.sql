-- rows
-- LAST_VALUE IGNORE NULLS.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":3}}
-- input {"t":1,"json":{}}
-- input {"bound":60000}
-- output D {"V":3}
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM LAST_VALUE("n") IGNORE NULLS FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
