-- rows
-- (rule: SIMILAR TO)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":true,"V1":false,"V2":true,"V3":false,"V4":true,"V5":true,"V6":false,"V7":true,"V8":true,"V9":true}
CREATE OR REPLACE STREAM d (v0 BOOLEAN, v1 BOOLEAN, v2 BOOLEAN, v3 BOOLEAN, v4 BOOLEAN, v5 BOOLEAN, v6 BOOLEAN, v7 BOOLEAN, v8 BOOLEAN, v9 BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'abc' SIMILAR TO '(a|x)%',
  'abc' SIMILAR TO 'b',
  'b' SIMILAR TO '[a-e^c]',
  'c' SIMILAR TO '[a-e^c]',
  'aab' SIMILAR TO 'a{2}b',
  'a.b' SIMILAR TO 'a.b',
  'axb' SIMILAR TO 'a.b',
  'x' SIMILAR TO '[^a]',
  'a%' SIMILAR TO 'a!%' ESCAPE '!',
  'b' NOT SIMILAR TO 'a+'
FROM "SOURCE_SQL_STREAM_001";
