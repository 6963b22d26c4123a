-- rows
-- Stream with stream over windows: emitted when the later row comes.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":5000,"json":{"k":"b","n":1}}
-- input {"t":10000,"json":{"k":"a","n":2}}
-- input {"t":20001,"json":{"k":"b","n":2}}
-- output D {"A":1,"B":1,"T":"1970-01-01 00:00:05.000"}
-- output D {"A":2,"B":1,"T":"1970-01-01 00:00:10.000"}
CREATE STREAM x (n INTEGER);
CREATE STREAM y (n INTEGER);
CREATE STREAM d (a INTEGER, b INTEGER, t TIMESTAMP);
CREATE PUMP px AS INSERT INTO d SELECT STREAM l."n", r."n", ROWTIME FROM
 (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'a') OVER (RANGE INTERVAL '10' SECOND PRECEDING) AS l
 JOIN (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'b') OVER (RANGE INTERVAL '10' SECOND PRECEDING) AS r ON TRUE;
