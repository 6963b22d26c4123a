-- rows
-- Grouping by ROWTIME itself closes a millisecond later.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":5,"json":{"k":"a","n":1}}
-- input {"t":5,"json":{"k":"a","n":2}}
-- input {"t":6,"json":{"k":"a","n":3}}
-- output D {"C":2,"T":"1970-01-01 00:00:00.006"}
CREATE STREAM d (c INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY s.ROWTIME;
