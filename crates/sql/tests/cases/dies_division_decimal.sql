-- rows
-- Division by zero kills the row for every type.
-- column "i" INTEGER $.i
-- input {"t":1000,"json":{"i":7}}
-- output OK {"I":7}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:01.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Division by zero","MESSAGE":"division by zero","DATA_ROWTIME":"1970-01-01 00:00:01.000","DATA_ROW":"7B2269223A377D","PUMP_NAME":"P"}
CREATE OR REPLACE STREAM ok (i INTEGER);
CREATE OR REPLACE STREAM d (v DECIMAL(9,2));
CREATE OR REPLACE PUMP good AS INSERT INTO ok SELECT STREAM "i" FROM "SOURCE_SQL_STREAM_001";
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "i" / 0.0 FROM "SOURCE_SQL_STREAM_001";
