-- rows
-- (rule: DOUBLE with any number is DOUBLE)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":0.25,"V1":7,"V2":2.5}
CREATE OR REPLACE STREAM d (v0 DOUBLE, v1 DOUBLE, v2 DOUBLE);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 1e0 / 4,
  1e0 * "i",
  1.5 + 1e0
FROM "SOURCE_SQL_STREAM_001";
