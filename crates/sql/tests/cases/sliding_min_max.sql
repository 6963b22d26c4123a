-- rows
-- MIN and MAX when the extreme leaves.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":5}}
-- input {"t":1000,"json":{"k":"a","n":1}}
-- input {"t":2000,"json":{"k":"a","n":3}}
-- input {"t":3000,"json":{"k":"a","n":4}}
-- input {"t":4000,"json":{"k":"a","n":2}}
-- output D {"A":5,"B":5}
-- output D {"A":1,"B":5}
-- output D {"A":1,"B":5}
-- output D {"A":1,"B":4}
-- output D {"A":2,"B":4}
CREATE STREAM d (a INTEGER, b INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM MIN("n") OVER w, MAX("n") OVER w FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (ROWS 2 PRECEDING);
