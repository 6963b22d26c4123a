-- rows
-- SUM of INTEGER is BIGINT.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":2147483647}}
-- input {"t":1,"json":{"n":1}}
-- input {"bound":60000}
-- output D {"V":2147483648}
CREATE STREAM d (v BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
