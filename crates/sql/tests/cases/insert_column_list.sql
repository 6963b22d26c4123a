-- rows
-- Columns that are not listed get NULL, and their keys stay.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"A":null,"B":"a","C":1}
CREATE STREAM d (a INTEGER, b VARCHAR(9), c INTEGER);
CREATE PUMP p AS INSERT INTO d (c, b) SELECT STREAM "n", "k" FROM "SOURCE_SQL_STREAM_001";
