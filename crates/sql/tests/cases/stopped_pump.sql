-- rows
-- A stopped pump does nothing; STARTED, DESCRIPTION and EXPEDITED change nothing.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":1}
CREATE STREAM d (v INTEGER) DESCRIPTION 'x';
CREATE PUMP p STOPPED AS INSERT INTO d SELECT STREAM 9 FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP q STARTED DESCRIPTION 'y' AS INSERT EXPEDITED INTO d SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001";
