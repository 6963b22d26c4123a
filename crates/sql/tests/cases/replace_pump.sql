-- rows
-- With OR REPLACE the last definition counts.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":2}
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 1 FROM "SOURCE_SQL_STREAM_001";
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 2 FROM "SOURCE_SQL_STREAM_001";
