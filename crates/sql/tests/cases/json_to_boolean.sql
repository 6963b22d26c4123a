-- rows
-- Values of records for BOOLEAN.
-- column "v" BOOLEAN $.v
-- input {"t":0,"json":{"v":true}}
-- input {"t":1,"json":{"v":0}}
-- input {"t":2,"json":{"v":2}}
-- input {"t":3,"json":{"v":"TRUE"}}
-- input {"t":4,"json":{"v":"yes"}}
-- input {"t":5,"json":{"v":{}}}
-- output D {"V":true}
-- output D {"V":false}
-- output D {"V":true}
-- output D {"V":true}
-- output D {"V":false}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.005","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"{}\"","DATA_ROWTIME":"1970-01-01 00:00:00.005","DATA_ROW":"7B2276223A7B7D7D","PUMP_NAME":"null"}
CREATE STREAM d (v BOOLEAN);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
