-- rows
-- Distinct values counted by a DISTINCT subquery.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"t":2,"json":{"k":"b","n":3}}
-- input {"bound":60000}
-- output D {"C":2}
CREATE STREAM d (c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*) FROM (SELECT STREAM DISTINCT FLOOR(s.ROWTIME TO MINUTE) AS w, "k" FROM "SOURCE_SQL_STREAM_001" AS s) AS t GROUP BY t.w;
