-- rows
-- Not JSON, or not an object: error_stream.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"data":"nonsense"}
-- input {"t":1,"data":"7"}
-- input {"t":2,"data":"{\"k\":\"a\"} x"}
-- input {"t":3,"hex":"ff"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not JSON at byte 0","DATA_ROWTIME":"1970-01-01 00:00:00.000","DATA_ROW":"6E6F6E73656E7365","PUMP_NAME":"null"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.001","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not a JSON object","DATA_ROWTIME":"1970-01-01 00:00:00.001","DATA_ROW":"37","PUMP_NAME":"null"}
-- output D {"V":"a"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.002","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not JSON at byte 10","DATA_ROWTIME":"1970-01-01 00:00:00.002","DATA_ROW":"7B226B223A2261227D2078","PUMP_NAME":"null"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.003","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not UTF-8","DATA_ROWTIME":"1970-01-01 00:00:00.003","DATA_ROW":"FF","PUMP_NAME":"null"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
