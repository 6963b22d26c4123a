-- rows
-- Groups of groups close at the same instant.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":1}}
-- input {"t":2,"json":{"k":"b","n":1}}
-- input {"bound":60000}
-- output D {"W":"1970-01-01 00:00:00.000","KEYS":2,"MOST":2,"T":"1970-01-01 00:01:00.000"}
CREATE STREAM d (w TIMESTAMP, keys INTEGER, most INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM w, COUNT(*), MAX(c), ROWTIME FROM
 (SELECT STREAM FLOOR(s.ROWTIME TO MINUTE) AS w, "k", COUNT(*) AS c FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k") AS g
GROUP BY w;
