-- rows
-- A row that dies in one pump is processed by the others.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":0}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Division by zero","MESSAGE":"division by zero","DATA_ROWTIME":"1970-01-01 00:00:00.000","DATA_ROW":"7B226B223A2261222C226E223A302C226D73223A6E756C6C7D","PUMP_NAME":"bad"}
-- output E {"V":0}
-- output D {"V":5}
-- output E {"V":2}
CREATE STREAM d (v INTEGER);
CREATE STREAM e (v INTEGER);
CREATE PUMP "bad" AS INSERT INTO d SELECT STREAM 10 / "n" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP good AS INSERT INTO e SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001";
