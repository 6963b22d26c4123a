-- rows
-- A row older than the last one of its stream dies.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":5000,"json":{"k":"a","n":1,"ms":2000}}
-- input {"t":6000,"json":{"k":"b","n":2,"ms":1000}}
-- output D {"V":1}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:06.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Row out of order","MESSAGE":"rows out of order: the row is older than the last one of its stream","DATA_ROWTIME":"1970-01-01 00:00:06.000","DATA_ROW":"7B226B223A2262222C226E223A322C226D73223A313030307D","PUMP_NAME":"P"}
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM TO_TIMESTAMP("ms") AS ROWTIME, "n" FROM "SOURCE_SQL_STREAM_001";
