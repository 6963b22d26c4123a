-- rows
-- Tumbling: rows of a minute, at its end; nothing is flushed at the end.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1000,"json":{"k":"a","n":1}}
-- input {"t":2000,"json":{"k":"b","n":5}}
-- input {"t":59000,"json":{"k":"a","n":3}}
-- input {"t":60000,"json":{"k":"a","n":7}}
-- output D {"K":"a","C":2,"S":4,"T":"1970-01-01 00:01:00.000"}
-- output D {"K":"b","C":1,"S":5,"T":"1970-01-01 00:01:00.000"}
CREATE STREAM d (k VARCHAR(9), c INTEGER, s INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", COUNT(*), SUM("n"), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY "k", FLOOR(s.ROWTIME TO MINUTE);
