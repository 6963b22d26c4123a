-- rows
-- (rule: TRIM)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"a","V1":"axx","V2":"a","V3":"a","V4":"a"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64), v3 VARCHAR(64), v4 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM TRIM(BOTH 'x' FROM 'xxaxx'),
  TRIM(LEADING 'x' FROM 'xxaxx'),
  TRIM(TRAILING FROM 'a  '),
  TRIM('  a '),
  TRIM('x' FROM 'xax')
FROM "SOURCE_SQL_STREAM_001";
