-- rows
-- A bad value kills its row only.
-- schema {"RecordColumns": [{"Name": "a", "SqlType": "VARCHAR(5)"}, {"Name": "b", "SqlType": "INTEGER"}, {"Name": "c", "SqlType": "VARCHAR(9)"}], "RecordFormat": {"RecordFormatType": "CSV", "MappingParameters": {"CSVMappingParameters": {"RecordRowDelimiter": "\n", "RecordColumnDelimiter": ","}}}, "RecordEncoding": "UTF-8"}
-- input {"t": 0, "data": "x,q,u\ny,2,v"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"q\"","DATA_ROWTIME":"1970-01-01 00:00:00.000","DATA_ROW":"782C712C750A792C322C76","PUMP_NAME":"null"}
-- output D {"A":"y","B":2,"C":"v"}
CREATE STREAM d (a VARCHAR(9), b INTEGER, c VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
