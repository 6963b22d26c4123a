-- rows
-- Of two equal keys the last counts.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"k":"a","k":"b"}
-- output D {"V":"b"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
