-- rows
-- A record that dies moves time.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":60000,"data":"x"}
-- output D {"C":1}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:01:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Parse error","MESSAGE":"the record is not JSON at byte 0","DATA_ROWTIME":"1970-01-01 00:01:00.000","DATA_ROW":"78","PUMP_NAME":"null"}
CREATE STREAM d (c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
