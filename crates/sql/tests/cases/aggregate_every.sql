-- rows
-- EVERY.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":1}}
-- input {"t":1,"json":{"n":3}}
-- input {"bound":60000}
-- output D {"V":false}
CREATE STREAM d (v BOOLEAN);
CREATE PUMP p AS INSERT INTO d SELECT STREAM EVERY("n" > 2) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
