-- rows
-- SUM of no value is NULL.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{}}
-- input {"bound":60000}
-- output D {"V":null}
CREATE STREAM d (v BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
