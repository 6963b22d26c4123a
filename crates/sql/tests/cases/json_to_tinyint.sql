-- rows
-- 300 does not fit TINYINT.
-- column "v" TINYINT $.v
-- input {"t":0,"json":{"v":127}}
-- input {"t":1,"json":{"v":300}}
-- output D {"V":127}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.001","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"300\"","DATA_ROWTIME":"1970-01-01 00:00:00.001","DATA_ROW":"7B2276223A3330307D","PUMP_NAME":"null"}
CREATE STREAM d (v TINYINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
