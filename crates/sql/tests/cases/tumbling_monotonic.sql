-- rows
-- STEP(MONOTONIC(…)) closes by the row that changes it, with that row's ROWTIME.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":100,"json":{"k":"a","n":1,"ms":1000}}
-- input {"t":200,"json":{"k":"a","n":1,"ms":2000}}
-- input {"t":300,"json":{"k":"a","n":1,"ms":3000}}
-- input {"t":400,"json":{"k":"a","n":1,"ms":2500}}
-- input {"t":500,"json":{"k":"a","n":1,"ms":2600}}
-- input {"bound":99999}
-- output D {"C":2,"W":"1970-01-01 00:00:00.000","T":"1970-01-01 00:00:00.300"}
-- output D {"C":1,"W":"1970-01-01 00:00:03.000","T":"1970-01-01 00:00:00.400"}
CREATE STREAM d (c INTEGER, w TIMESTAMP, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), STEP(MONOTONIC(TO_TIMESTAMP("ms")) BY INTERVAL '3' SECOND), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(MONOTONIC(TO_TIMESTAMP("ms")) BY INTERVAL '3' SECOND);
