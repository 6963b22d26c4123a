-- rows
-- More decimals than a DECIMAL has are rounded.
-- column "v" DECIMAL(5,2) $.v
-- input {"t":0,"json":{"v":1.255}}
-- input {"t":1,"json":{"v":"2.5"}}
-- input {"t":2,"json":{"v":7}}
-- input {"t":3,"json":{"v":12345}}
-- output D {"V":1.26}
-- output D {"V":2.50}
-- output D {"V":7.00}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.003","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"12345\"","DATA_ROWTIME":"1970-01-01 00:00:00.003","DATA_ROW":"7B2276223A31323334357D","PUMP_NAME":"null"}
CREATE STREAM d (v DECIMAL(5,2));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
