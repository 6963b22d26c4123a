-- rows
-- RecordRowPath selects the row or an array of rows.
-- schema {"RecordColumns": [{"Name": "k", "SqlType": "VARCHAR(9)", "Mapping": "$.k"}, {"Name": "n", "SqlType": "INTEGER"}], "RecordFormat": {"RecordFormatType": "JSON", "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$.rows"}}}, "RecordEncoding": "UTF-8"}
-- input {"x":1,"rows":[{"k":"a","n":1},{"k":"b","n":2}]}
-- input {"rows":{"k":"c","n":3}}
-- input {"x":1}
-- output D {"K":"a","N":1}
-- output D {"K":"b","N":2}
-- output D {"K":"c","N":3}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.002","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"RecordRowPath finds nothing in the record","DATA_ROWTIME":"1970-01-01 00:00:00.002","DATA_ROW":"7B2278223A317D","PUMP_NAME":"null"}
CREATE STREAM d (k VARCHAR(9), n INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
