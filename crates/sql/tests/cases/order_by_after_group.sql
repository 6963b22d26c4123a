-- rows
-- ORDER BY the window, then the count: sorted at the window's end.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":1}}
-- input {"t":2,"json":{"k":"b","n":1}}
-- input {"bound":60000}
-- output D {"K":"b","C":2}
-- output D {"K":"a","C":1}
CREATE STREAM d (k VARCHAR(9), c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", COUNT(*) AS c FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(s.ROWTIME BY INTERVAL '60' SECOND), "k" ORDER BY STEP(s.ROWTIME BY INTERVAL '60' SECOND), c DESC;
