-- rows
-- (rule: || joins strings, NULL gives NULL)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"ab","V1":null}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'a' || 'b',
  'a' || NULL
FROM "SOURCE_SQL_STREAM_001";
