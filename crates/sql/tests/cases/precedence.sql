-- rows
-- (rule: NOT over AND over OR; * over +)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":7,"V1":3,"V2":true,"V3":true,"V4":9}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER, v2 BOOLEAN, v3 BOOLEAN, v4 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 1 + 2 * 3,
  -2 + 5,
  TRUE OR FALSE AND FALSE,
  NOT TRUE OR TRUE,
  (1 + 2) * 3
FROM "SOURCE_SQL_STREAM_001";
