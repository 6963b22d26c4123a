-- rows
-- Texts of dates.
-- column "v" DATE $.v
-- input {"t":0,"json":{"v":"2024-03-05"}}
-- input {"t":1,"json":{"v":"2024-03-05 14:07:09"}}
-- output D {"V":"2024-03-05"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.001","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"2024-03-05 14:07:09\"","DATA_ROWTIME":"1970-01-01 00:00:00.001","DATA_ROW":"7B2276223A22323032342D30332D30352031343A30373A3039227D","PUMP_NAME":"null"}
CREATE STREAM d (v DATE);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";
