-- rows
-- (rule: CHAR is padded)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"12  |","V1":3}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CAST(12 AS CHAR(4)) || '|',
  CHAR_LENGTH(CAST('a' AS CHAR(3)))
FROM "SOURCE_SQL_STREAM_001";
