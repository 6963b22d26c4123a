-- rows
-- A window per key from its first row on, half open.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":5000,"json":{"k":"a","n":1}}
-- input {"t":10000,"json":{"k":"b","n":1}}
-- input {"t":64999,"json":{"k":"a","n":1}}
-- input {"t":65000,"json":{"k":"a","n":1}}
-- input {"bound":200000}
-- output D {"K":"a","C":2,"T":"1970-01-01 00:01:05.000"}
-- output D {"K":"b","C":1,"T":"1970-01-01 00:01:10.000"}
-- output D {"K":"a","C":1,"T":"1970-01-01 00:02:05.000"}
CREATE STREAM d (k VARCHAR(9), c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" WINDOWED BY STAGGER (PARTITION BY "k" RANGE INTERVAL '1' MINUTE);
