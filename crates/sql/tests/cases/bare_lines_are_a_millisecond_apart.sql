-- rows
-- A line that is no envelope is a record, a millisecond after the one before.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":5000,"json":{"k":"a"}}
-- input {"k":"b"}
-- input {"t":7,"k":"c"}
-- output D {"T":"1970-01-01 00:00:05.000"}
-- output D {"T":"1970-01-01 00:00:05.001"}
-- output D {"T":"1970-01-01 00:00:05.002"}
CREATE STREAM d (t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM ROWTIME FROM "SOURCE_SQL_STREAM_001";
