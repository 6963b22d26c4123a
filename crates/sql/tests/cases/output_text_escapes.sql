-- rows
-- JSON out: only what JSON demands is escaped.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"k":"ä\"\\\n\u0001/"}
-- output D {"V":"ä\"\\\n\u0001/"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
