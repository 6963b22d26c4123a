-- rows
-- ORDER BY: rows wait until the first term changes; NULLs sort as largest.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":3}}
-- input {"t":1,"json":{"k":"b"}}
-- input {"t":2,"json":{"k":"c","n":1}}
-- input {"t":60000,"json":{"k":"d","n":2}}
-- output D {"K":"c","T":"1970-01-01 00:01:00.000"}
-- output D {"K":"a","T":"1970-01-01 00:01:00.000"}
-- output D {"K":"b","T":"1970-01-01 00:01:00.000"}
CREATE STREAM o (k VARCHAR(9));
CREATE STREAM d (k VARCHAR(9), t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM k, t.ROWTIME FROM (SELECT STREAM "k" AS k FROM "SOURCE_SQL_STREAM_001" AS s ORDER BY FLOOR(s.ROWTIME TO MINUTE), "n") AS t;
