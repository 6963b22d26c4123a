-- rows
-- Mapping parameters may be missing.
-- schema {"RecordColumns": [{"Name": "a", "SqlType": "VARCHAR(5)"}, {"Name": "b", "SqlType": "INTEGER"}, {"Name": "c", "SqlType": "VARCHAR(9)"}], "RecordFormat": {"RecordFormatType": "CSV"}, "RecordEncoding": "UTF-8"}
-- input {"t": 0, "data": "x,1,u\n"}
-- output D {"A":"x","B":1,"C":"u"}
CREATE STREAM d (a VARCHAR(9), b INTEGER, c VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
