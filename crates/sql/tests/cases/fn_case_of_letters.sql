-- rows
-- (rule: INITCAP splits at blanks only)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"AB","V1":"ab","V2":"Red Fox","V3":"Red-fox"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64), v3 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM UPPER('aB'),
  LOWER('aB'),
  INITCAP('red FOX'),
  INITCAP('red-FOX')
FROM "SOURCE_SQL_STREAM_001";
