-- rows
-- LAG within the window, with a default.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"t":2,"json":{"k":"a","n":3}}
-- input {"t":99999,"json":{"k":"a","n":4}}
-- output D {"A":null,"B":0}
-- output D {"A":1,"B":0}
-- output D {"A":2,"B":1}
-- output D {"A":null,"B":0}
CREATE STREAM d (a INTEGER, b INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM LAG("n") OVER w, LAG("n", 2, 0) OVER w FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (RANGE INTERVAL '1' MINUTE PRECEDING);
