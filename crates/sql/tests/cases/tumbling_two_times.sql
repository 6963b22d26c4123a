-- rows
-- With ROWTIME and an event time ROWTIME drives, the event time is a key.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1000,"json":{"k":"a","n":1,"ms":500}}
-- input {"t":2000,"json":{"k":"a","n":1,"ms":70000}}
-- input {"t":61000,"json":{"k":"a","n":1,"ms":600}}
-- input {"bound":120000}
-- output D {"C":1,"W":"1970-01-01 00:00:00.000","T":"1970-01-01 00:01:00.000"}
-- output D {"C":1,"W":"1970-01-01 00:01:00.000","T":"1970-01-01 00:01:00.000"}
-- output D {"C":1,"W":"1970-01-01 00:00:00.000","T":"1970-01-01 00:02:00.000"}
CREATE STREAM d (c INTEGER, w TIMESTAMP, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), STEP(TO_TIMESTAMP("ms") BY INTERVAL '60' SECOND) AS w, ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s
GROUP BY STEP(s.ROWTIME BY INTERVAL '60' SECOND), STEP(TO_TIMESTAMP("ms") BY INTERVAL '60' SECOND);
