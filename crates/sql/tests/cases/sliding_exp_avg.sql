-- rows
-- EXP_AVG: the weight of a row halves with each interval; NULLs are skipped; partitions are apart.
-- column "k" VARCHAR(9) $.k
-- column "i" INTEGER $.i
-- input {"t":1000,"json":{"k":"a","i":8}}
-- input {"t":2000,"json":{"k":"b","i":1}}
-- input {"t":6000,"json":{"k":"a","i":2}}
-- input {"t":6000,"json":{"k":"a"}}
-- input {"t":60000,"json":{"k":"a"}}
-- output D {"K":"a","V":8}
-- output D {"K":"b","V":1}
-- output D {"K":"a","V":4}
-- output D {"K":"a","V":4}
-- output D {"K":"a","V":null}
CREATE OR REPLACE STREAM d (k VARCHAR(9), v DOUBLE);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "k",
EXP_AVG("i", INTERVAL '5' SECOND) OVER (PARTITION BY "k" RANGE INTERVAL '20' SECOND PRECEDING)
FROM "SOURCE_SQL_STREAM_001" AS s;
