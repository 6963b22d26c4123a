-- rows
-- A record may hold several documents.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"data":"{\"k\":\"a\"} {\"k\":\"b\"}{\"k\":\"c\"}"}
-- output D {"V":"a"}
-- output D {"V":"b"}
-- output D {"V":"c"}
CREATE STREAM d (v VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
