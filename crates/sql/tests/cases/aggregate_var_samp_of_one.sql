-- rows
-- A sample of one has no variance.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":1}}
-- input {"bound":60000}
-- output D {"V":null}
CREATE STREAM d (v DOUBLE);
CREATE PUMP p AS INSERT INTO d SELECT STREAM VAR_SAMP("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
