-- rows
-- An envelope with null is a record with null, which is no object.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1,"json":null}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.001","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not a JSON object","DATA_ROWTIME":"1970-01-01 00:00:00.001","DATA_ROW":"6E756C6C","PUMP_NAME":"null"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
