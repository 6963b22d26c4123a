-- rows
-- STDDEV_POP.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":2}}
-- input {"t":1,"json":{"n":4}}
-- input {"t":2,"json":{"n":4}}
-- input {"t":3,"json":{"n":4}}
-- input {"t":4,"json":{"n":5}}
-- input {"t":5,"json":{"n":5}}
-- input {"t":6,"json":{"n":7}}
-- input {"t":7,"json":{"n":9}}
-- input {"bound":60000}
-- output D {"V":2}
CREATE STREAM d (v DOUBLE);
CREATE PUMP p AS INSERT INTO d SELECT STREAM STDDEV_POP(CAST("n" AS DOUBLE)) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
