-- rows
-- ROWTIME is raised to the last one; the arrival time is kept.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":2000,"json":{"k":"a"}}
-- input {"t":1000,"json":{"k":"b"}}
-- output D {"T":"1970-01-01 00:00:02.000","A":"1970-01-01 00:00:02.000"}
-- output D {"T":"1970-01-01 00:00:02.000","A":"1970-01-01 00:00:02.000"}
CREATE STREAM d (t TIMESTAMP, a TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM rowtime, rowtime FROM "SOURCE_SQL_STREAM_001";
