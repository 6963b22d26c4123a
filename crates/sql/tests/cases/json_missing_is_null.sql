-- rows
-- Missing values are NULL; case counts.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"K":"a"}
-- output D {"V":null}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
