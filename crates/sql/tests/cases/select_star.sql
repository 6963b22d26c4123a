-- rows
-- A star gives the declared columns only.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1,"ms":5}}
-- output D {"A":"a","B":1,"C":5}
-- output E {"A":"a","B":1,"C":5}
CREATE STREAM d (a VARCHAR(9), b INTEGER, c BIGINT);
CREATE STREAM e (a VARCHAR(9), b INTEGER, c BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP q AS INSERT INTO e SELECT STREAM s.* FROM "SOURCE_SQL_STREAM_001" AS s;
