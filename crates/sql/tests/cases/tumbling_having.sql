-- rows
-- HAVING drops groups.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"t":2,"json":{"k":"b","n":9}}
-- input {"bound":60000}
-- output D {"K":"a","C":2}
CREATE STREAM d (k VARCHAR(9), c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", COUNT(*) AS c FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k" HAVING COUNT(*) > 1;
