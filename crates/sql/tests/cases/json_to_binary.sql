-- rows
-- Binary only from X'…'.
-- column "v" VARBINARY(4) $.v
-- input {"t":0,"json":{"v":"X'0AFF'"}}
-- input {"t":1,"json":{"v":"0AFF"}}
-- input {"t":2,"json":{"v":5}}
-- output D {"V":"Cv8="}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.001","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"0AFF\"","DATA_ROWTIME":"1970-01-01 00:00:00.001","DATA_ROW":"7B2276223A2230414646227D","PUMP_NAME":"null"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.002","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"5\"","DATA_ROWTIME":"1970-01-01 00:00:00.002","DATA_ROW":"7B2276223A357D","PUMP_NAME":"null"}
CREATE STREAM d (v VARBINARY(4));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
