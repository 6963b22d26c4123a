-- rows
-- Without OVER only rows of the same instant pair.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"bound":60000}
-- output C {"C":2}
-- output M {"M":2}
-- output D {"C":2,"M":2}
CREATE STREAM c (c INTEGER);
CREATE STREAM m (m INTEGER);
CREATE STREAM d (c INTEGER, m INTEGER);
CREATE PUMP p1 AS INSERT INTO c SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
CREATE PUMP p2 AS INSERT INTO m SELECT STREAM MAX("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
CREATE PUMP p3 AS INSERT INTO d SELECT STREAM c.c, m.m FROM c, m WHERE c.ROWTIME = m.ROWTIME;
