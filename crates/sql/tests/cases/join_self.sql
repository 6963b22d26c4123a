-- rows
-- A stream joined with itself over the last rows.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":3}}
-- output D {"A":1,"B":1}
-- output D {"A":3,"B":1}
-- output D {"A":3,"B":3}
CREATE STREAM d (a INTEGER, b INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM x."n", y."n" FROM "SOURCE_SQL_STREAM_001" AS x JOIN "SOURCE_SQL_STREAM_001" OVER (ROWS 5 PRECEDING) AS y ON x."k" = y."k";
