-- rows
-- Select items: grouping expressions inside of larger ones, aggregates, constants.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"bound":60000}
-- output D {"A":"a!","B":4,"C":"1970-01-01 00:00:30.000","E":9}
CREATE STREAM d (a VARCHAR(10), b INTEGER, c TIMESTAMP, e INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" || '!', SUM("n") + 1, FLOOR(s.ROWTIME TO MINUTE) + INTERVAL '30' SECOND, 9 FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k";
