-- rows
-- CURRENT_ROW_TIMESTAMP is the row's, the others are the start's.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1000,"json":{"k":"a"}}
-- input {"t":90000000,"json":{"k":"b"}}
-- output D {"A":"1970-01-01 00:00:01.000","B":"1970-01-01 00:00:01.000","C":"1970-01-01","E":"00:00:01"}
-- output D {"A":"1970-01-02 01:00:00.000","B":"1970-01-01 00:00:01.000","C":"1970-01-01","E":"00:00:01"}
CREATE STREAM d (a TIMESTAMP, b TIMESTAMP, c DATE, e TIME);
CREATE PUMP p AS INSERT INTO d SELECT STREAM CURRENT_ROW_TIMESTAMP, CURRENT_TIMESTAMP, CURRENT_DATE, LOCALTIME FROM "SOURCE_SQL_STREAM_001";
