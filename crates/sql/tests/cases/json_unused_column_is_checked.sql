-- rows
-- A bad value kills the row whether its column is used or not.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"k":"a","n":"x"}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"x\"","DATA_ROWTIME":"1970-01-01 00:00:00.000","DATA_ROW":"7B226B223A2261222C226E223A2278227D","PUMP_NAME":"null"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
