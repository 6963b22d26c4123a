-- rows
-- (rule: strings by code point, CHAR without trailing blanks)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":true,"V1":true,"V2":true,"V3":false,"V4":true,"V5":true,"V6":false}
CREATE OR REPLACE STREAM d (v0 BOOLEAN, v1 BOOLEAN, v2 BOOLEAN, v3 BOOLEAN, v4 BOOLEAN, v5 BOOLEAN, v6 BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'a' < 'b',
  'B' < 'a',
  CAST('a' AS CHAR(3)) = 'a',
  'a' = 'a ',
  2 = 2.0,
  1 != 2,
  1 <> 1
FROM "SOURCE_SQL_STREAM_001";
