-- rows
-- Fields out of range are refused, not carried over.
-- column "i" INTEGER $.i
-- input {"t":1000,"json":{"i":7}}
-- output OK {"I":7}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:01.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Function error","MESSAGE":"'2024-02-30' does not fit 'yyyy-MM-dd'","DATA_ROWTIME":"1970-01-01 00:00:01.000","DATA_ROW":"7B2269223A377D","PUMP_NAME":"P"}
CREATE OR REPLACE STREAM ok (i INTEGER);
CREATE OR REPLACE STREAM d (v DATE);
CREATE OR REPLACE PUMP good AS INSERT INTO ok SELECT STREAM "i" FROM "SOURCE_SQL_STREAM_001";
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CHAR_TO_DATE('yyyy-MM-dd', '2024-02-3' || CAST("i" - 7 AS VARCHAR(3))) FROM "SOURCE_SQL_STREAM_001";
