-- rows
-- FIRST_VALUE and LAST_VALUE as plain aggregates.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":3}}
-- input {"t":1,"json":{"n":1}}
-- input {"t":2,"json":{"n":2}}
-- input {"bound":60000}
-- output D {"V":302}
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM FIRST_VALUE("n") * 100 + LAST_VALUE("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
