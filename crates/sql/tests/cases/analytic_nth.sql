-- rows
-- NTH_VALUE from both ends.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a"}}
-- input {"t":2,"json":{"k":"a","n":3}}
-- output D {"A":null,"B":1,"C":1}
-- output D {"A":null,"B":1,"C":null}
-- output D {"A":3,"B":3,"C":3}
CREATE STREAM d (a INTEGER, b INTEGER, c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM NTH_VALUE("n", 2) IGNORE NULLS OVER w, NTH_VALUE("n", 1) FROM LAST IGNORE NULLS OVER w, LAST_VALUE("n") OVER w FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (ROWS 9 PRECEDING);
