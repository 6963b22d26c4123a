-- rows
-- (rule: the quotient is cut toward zero)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":3,"V1":-3,"V2":3}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER, v2 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 7 / 2,
  -7 / 2,
  "i" / 2
FROM "SOURCE_SQL_STREAM_001";
