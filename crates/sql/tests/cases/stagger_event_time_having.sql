-- rows
-- STAGGER by an event time and a key, with HAVING.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1,"ms":500}}
-- input {"t":1000,"json":{"k":"a","n":2,"ms":600}}
-- input {"t":2000,"json":{"k":"a","n":3,"ms":61000}}
-- input {"bound":70000}
-- output D {"M":"1970-01-01 00:00:00.000","S":3}
CREATE STREAM d (m TIMESTAMP, s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM FLOOR(TO_TIMESTAMP("ms") TO MINUTE), SUM("n") FROM "SOURCE_SQL_STREAM_001"
WINDOWED BY STAGGER (PARTITION BY FLOOR(TO_TIMESTAMP("ms") TO MINUTE), "k" RANGE INTERVAL '1' MINUTE) HAVING COUNT(*) > 1;
