-- rows
-- UNION ALL: names of the first, left first.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":"a","W":1}
-- output D {"V":"x","W":2}
CREATE STREAM d (v VARCHAR(9), w INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", "n" FROM "SOURCE_SQL_STREAM_001" UNION ALL SELECT STREAM 'x', "n" + 1 FROM "SOURCE_SQL_STREAM_001";
