-- rows
-- Values of records for DOUBLE.
-- column "v" DOUBLE $.v
-- input {"t":0,"json":{"v":1.5}}
-- input {"t":1,"json":{"v":"1e3"}}
-- input {"t":2,"json":{"v":7}}
-- input {"t":3,"json":{"v":"x"}}
-- input {"t":4,"json":{"v":"NaN"}}
-- output D {"V":1.5}
-- output D {"V":1000}
-- output D {"V":7}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.003","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"x\"","DATA_ROWTIME":"1970-01-01 00:00:00.003","DATA_ROW":"7B2276223A2278227D","PUMP_NAME":"null"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.004","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"NaN\"","DATA_ROWTIME":"1970-01-01 00:00:00.004","DATA_ROW":"7B2276223A224E614E227D","PUMP_NAME":"null"}
CREATE STREAM d (v DOUBLE);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
