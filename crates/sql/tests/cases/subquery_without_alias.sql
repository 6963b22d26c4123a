-- rows
-- A subquery needs no name.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":1,"T":"1970-01-01 00:00:00.000"}
CREATE STREAM d (v INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM m, ROWTIME FROM (SELECT STREAM "n" AS m FROM "SOURCE_SQL_STREAM_001");
