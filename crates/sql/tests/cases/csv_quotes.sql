-- rows
-- Quotes, with two for one; delimiters inside.
-- schema {"RecordColumns": [{"Name": "a", "SqlType": "VARCHAR(5)"}, {"Name": "b", "SqlType": "INTEGER"}, {"Name": "c", "SqlType": "VARCHAR(9)"}], "RecordFormat": {"RecordFormatType": "CSV", "MappingParameters": {"CSVMappingParameters": {"RecordRowDelimiter": "\n", "RecordColumnDelimiter": ","}}}, "RecordEncoding": "UTF-8"}
-- input {"t": 0, "data": "\"a,b\",1,\"say \"\"x\"\"\""}
-- output D {"A":"a,b","B":1,"C":"say \"x\""}
CREATE STREAM d (a VARCHAR(9), b INTEGER, c VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
