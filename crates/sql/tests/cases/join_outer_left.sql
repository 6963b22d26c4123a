-- rows
-- An unmatched row is emitted once its window has passed.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1000,"json":{"k":"a","n":2}}
-- input {"t":2000,"json":{"k":"b","n":2}}
-- input {"t":11500,"json":{"k":"c","n":0}}
-- input {"bound":20000}
-- output D {"A":2,"B":2,"T":"1970-01-01 00:00:02.000"}
-- output D {"A":1,"B":null,"T":"1970-01-01 00:00:10.000"}
CREATE STREAM d (a INTEGER, b INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM l."n", r."n", ROWTIME FROM
 (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'a') OVER (RANGE INTERVAL '10' SECOND PRECEDING) AS l
 LEFT JOIN (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'b') OVER (RANGE INTERVAL '10' SECOND PRECEDING) AS r ON l."n" = r."n";
