-- rows
-- (rule: from 1, 0 when absent, empty is 1)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":3,"V1":0,"V2":1,"V3":2}
CREATE OR REPLACE STREAM d (v0 INTEGER, v1 INTEGER, v2 INTEGER, v3 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM POSITION('c' IN 'abcc'),
  POSITION('z' IN 'abc'),
  POSITION('' IN 'abc'),
  POSITION('b' IN 'äb')
FROM "SOURCE_SQL_STREAM_001";
