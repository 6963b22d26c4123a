-- rows
-- COUNT(DISTINCT x) is exact.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":1}}
-- input {"t":1,"json":{"n":2}}
-- input {"t":2,"json":{"n":1}}
-- input {"t":3,"json":{}}
-- input {"bound":60000}
-- output D {"V":2}
CREATE STREAM d (v BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(DISTINCT "n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
