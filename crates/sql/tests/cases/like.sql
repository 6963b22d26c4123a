-- rows
-- (rule: whole string, case counts, no escape unless given)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":true,"V1":false,"V2":true,"V3":false,"V4":true,"V5":false,"V6":true,"V7":false,"V8":null,"V9":true}
CREATE OR REPLACE STREAM d (v0 BOOLEAN, v1 BOOLEAN, v2 BOOLEAN, v3 BOOLEAN, v4 BOOLEAN, v5 BOOLEAN, v6 BOOLEAN, v7 BOOLEAN, v8 BOOLEAN, v9 BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'abc' LIKE 'a%',
  'abc' LIKE 'A%',
  'abc' LIKE '_b_',
  'abc' LIKE 'b',
  '50%' LIKE '50!%' ESCAPE '!',
  '50x' LIKE '50!%' ESCAPE '!',
  'a\b' LIKE 'a\b',
  'abc' NOT LIKE 'a%',
  NULL LIKE 'a',
  'aXbXc' LIKE '%X%c'
FROM "SOURCE_SQL_STREAM_001";
