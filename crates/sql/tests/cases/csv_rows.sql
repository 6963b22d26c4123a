-- rows
-- Several rows in a record; a trailing delimiter is no row.
-- schema {"RecordColumns": [{"Name": "a", "SqlType": "VARCHAR(5)"}, {"Name": "b", "SqlType": "INTEGER"}, {"Name": "c", "SqlType": "VARCHAR(9)"}], "RecordFormat": {"RecordFormatType": "CSV", "MappingParameters": {"CSVMappingParameters": {"RecordRowDelimiter": "\n", "RecordColumnDelimiter": ","}}}, "RecordEncoding": "UTF-8"}
-- input {"t": 0, "data": "x,1,u\ny,2,v\n"}
-- output D {"A":"x","B":1,"C":"u"}
-- output D {"A":"y","B":2,"C":"v"}
CREATE STREAM d (a VARCHAR(9), b INTEGER, c VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
