-- rows
-- A text literal widens to a parameter of a longer type.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":4}}
-- output D {"A":"x!"}
CREATE FUNCTION loud (x VARCHAR(9)) RETURNS VARCHAR(10) RETURN x || '!';
CREATE STREAM d (a VARCHAR(10));
CREATE PUMP p AS INSERT INTO d SELECT STREAM loud('x') FROM "SOURCE_SQL_STREAM_001";
