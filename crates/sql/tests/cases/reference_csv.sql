-- rows
-- A CSV table: every line is a row; a bad line goes to error_stream.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table codes {"RecordColumns": [{"Name": "id", "SqlType": "INTEGER"}, {"Name": "name", "SqlType": "VARCHAR(9)"}], "RecordFormat": {"RecordFormatType": "CSV"}}
-- line codes id,name
-- line codes 1,one
-- line codes 2,two
-- input {"t":0,"json":{"k":"a","n":2}}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"a line of the reference table \"codes\": For input string: \"id\"","DATA_ROWTIME":"1970-01-01 00:00:00.000","DATA_ROW":"","PUMP_NAME":"null"}
-- output D {"N":"two"}
CREATE STREAM d (n VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM c."name" FROM "SOURCE_SQL_STREAM_001" AS s JOIN "codes" AS c ON c."id" = s."n";
