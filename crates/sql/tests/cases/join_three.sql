-- rows
-- Three operands, each with its own window.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- input {"t":2,"json":{"k":"c","n":3}}
-- output D {"A":1,"B":2,"C":3}
CREATE STREAM d (a INTEGER, b INTEGER, c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM x."n", y."n", z."n" FROM "SOURCE_SQL_STREAM_001" OVER w AS x, "SOURCE_SQL_STREAM_001" OVER w AS y, "SOURCE_SQL_STREAM_001" OVER w AS z
WHERE x."k" = 'a' AND y."k" = 'b' AND z."k" = 'c' WINDOW w AS (RANGE INTERVAL '1' MINUTE PRECEDING);
