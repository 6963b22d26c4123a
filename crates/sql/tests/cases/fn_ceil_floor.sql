-- rows
-- (rule: whole number in the type of the argument)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":5,"V1":5,"V2":-5,"V3":2}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER, v2 INTEGER, v3 DOUBLE);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CEIL(4.1),
  CEILING(4.1),
  FLOOR(-4.1),
  FLOOR(2.7e0)
FROM "SOURCE_SQL_STREAM_001";
