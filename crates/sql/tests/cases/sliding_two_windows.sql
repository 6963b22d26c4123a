-- rows
-- Several windows in one SELECT.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":5000,"json":{"k":"a","n":2}}
-- input {"t":9000,"json":{"k":"a","n":4}}
-- output D {"A":1,"B":1,"C":1.00}
-- output D {"A":3,"B":2,"C":1.50}
-- output D {"A":6,"B":3,"C":2.33}
CREATE STREAM d (a INTEGER, b INTEGER, c DECIMAL(5,2));
CREATE PUMP p AS INSERT INTO d SELECT STREAM SUM("n") OVER short, COUNT(*) OVER long, AVG(CAST("n" AS DECIMAL(9,2))) OVER long FROM "SOURCE_SQL_STREAM_001"
WINDOW short AS (RANGE INTERVAL '5' SECOND PRECEDING), long AS (RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW);
