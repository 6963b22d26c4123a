-- rows
-- NULL is a key equal to itself.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"n":1}}
-- input {"t":1,"json":{"n":2}}
-- input {"bound":60000}
-- output D {"K":null,"C":2}
CREATE STREAM d (k VARCHAR(9), c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k";
