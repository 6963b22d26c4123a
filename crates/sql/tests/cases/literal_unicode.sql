-- rows
-- (rule: u& strings)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"äb","V1":"A"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM u&'\00e4b',
  u&'!0041' uescape '!'
FROM "SOURCE_SQL_STREAM_001";
