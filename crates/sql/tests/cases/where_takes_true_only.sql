-- rows
-- WHERE takes only TRUE.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b"}}
-- input {"t":2,"json":{"k":"c","n":5}}
-- output D {"K":"c"}
CREATE STREAM d (k VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001" WHERE "n" > 2;
