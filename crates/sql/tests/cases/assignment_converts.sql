-- rows
-- (rule: text is cut silently, numbers are rounded)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"abc","V1":2.56,"V2":3,"V3":7,"V4":"a  "}
CREATE OR REPLACE STREAM d (v0 VARCHAR(3), v1 DECIMAL(5,2), v2 INTEGER, v3 DOUBLE, v4 CHAR(3));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'abcdef',
  2.555,
  2.5,
  7,
  'a'
FROM "SOURCE_SQL_STREAM_001";
