-- rows
-- AVG of INTEGER is INTEGER, cut.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":29}}
-- input {"t":1,"json":{"n":32}}
-- input {"bound":60000}
-- output D {"V":30}
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM AVG("n") FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
