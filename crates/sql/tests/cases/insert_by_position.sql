-- rows
-- INSERT goes by position, whatever the aliases are.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"A":1,"B":"a"}
CREATE STREAM d (a INTEGER, b VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "n" AS b, "k" AS a FROM "SOURCE_SQL_STREAM_001";
