-- rows
-- (rule: UNKNOWN with a NULL and no match)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":true,"V1":null,"V2":true,"V3":null,"V4":true}
CREATE OR REPLACE STREAM d (v0 BOOLEAN, v1 BOOLEAN, v2 BOOLEAN, v3 BOOLEAN, v4 BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "i" IN (1, 7),
  "i" IN (1, NULL),
  "i" NOT IN (1, 2),
  NULL IN (1),
  "i" IN (7, NULL)
FROM "SOURCE_SQL_STREAM_001";
