-- rows
-- (rule: sign of the first, type of the second)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":-1,"V1":1,"V2":null}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER, v2 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM MOD(-7, 3),
  MOD(7, -3),
  MOD(NULL, 3)
FROM "SOURCE_SQL_STREAM_001";
