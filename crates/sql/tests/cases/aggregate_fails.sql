-- rows
-- A failing aggregate puts the key of its group in DATA_ROW.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","ms":9223372036854775807}}
-- input {"t":1,"json":{"k":"a","ms":1}}
-- input {"t":2,"json":{"k":"b","ms":1}}
-- input {"bound":60000}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:01:00.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Value out of range","MESSAGE":"the result is out of the range of BIGINT","DATA_ROWTIME":"1970-01-01 00:01:00.000","DATA_ROW":"5B22313937302D30312D30312030303A30303A30302E303030222C2261225D","PUMP_NAME":"P"}
-- output D {"K":"b","S":1}
CREATE STREAM d (k VARCHAR(9), s BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", SUM("ms") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k";
