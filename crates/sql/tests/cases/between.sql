-- rows
-- (rule: inclusive)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":true,"V1":false,"V2":false,"V3":null,"V4":false}
CREATE OR REPLACE STREAM d (v0 BOOLEAN, v1 BOOLEAN, v2 BOOLEAN, v3 BOOLEAN, v4 BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "i" BETWEEN 7 AND 9,
  "i" NOT BETWEEN 7 AND 9,
  "i" BETWEEN 8 AND 9,
  "i" BETWEEN NULL AND 9,
  "i" BETWEEN NULL AND 3
FROM "SOURCE_SQL_STREAM_001";
