-- rows
-- FLOOR of an event time counts as MONOTONIC when nothing else grows.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":100,"json":{"k":"a","n":1,"ms":1000}}
-- input {"t":200,"json":{"k":"a","n":1,"ms":61000}}
-- input {"t":300,"json":{"k":"a","n":1,"ms":62000}}
-- output D {"C":1,"W":"1970-01-01 00:00:00.000"}
CREATE STREAM d (c INTEGER, w TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*), FLOOR(TO_TIMESTAMP("ms") TO MINUTE) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(TO_TIMESTAMP("ms") TO MINUTE);
