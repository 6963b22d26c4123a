-- rows
-- (rule: characters, not bytes)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":2,"V1":0}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CHAR_LENGTH('äb'),
  CHARACTER_LENGTH('')
FROM "SOURCE_SQL_STREAM_001";
