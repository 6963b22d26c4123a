-- rows
-- The two most frequent keys a minute, by a subquery and ORDER BY.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a"}}
-- input {"t":1,"json":{"k":"b"}}
-- input {"t":2,"json":{"k":"b"}}
-- input {"t":3,"json":{"k":"c"}}
-- input {"t":4,"json":{"k":"c"}}
-- input {"t":5,"json":{"k":"c"}}
-- input {"bound":60000}
-- output D {"K":"c","N":3}
-- output D {"K":"b","N":2}
-- output D {"K":"a","N":1}
CREATE STREAM d (k VARCHAR(9), n INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM k, n FROM
 (SELECT STREAM "k" AS k, COUNT(*) AS n, STEP(s.ROWTIME BY INTERVAL '60' SECOND) AS w FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY "k", STEP(s.ROWTIME BY INTERVAL '60' SECOND))
ORDER BY w, n DESC;
