-- rows
-- (rule: type of the argument)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":2.5,"V1":7,"V2":null}
CREATE OR REPLACE STREAM d (v0 DECIMAL(3,1), v1 INTEGER, v2 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM ABS(-2.5),
  ABS(-7),
  ABS(NULL)
FROM "SOURCE_SQL_STREAM_001";
