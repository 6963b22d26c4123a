-- rows
-- (rule: past the end empty with FROM, NULL with commas)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"ab","V1":"cdef","V2":"cd","V3":"","V4":null,"V5":"a"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64), v3 VARCHAR(64), v4 VARCHAR(64), v5 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM SUBSTRING('abcdef' FROM -1 FOR 4),
  SUBSTRING('abcdef' FROM 3),
  SUBSTRING('abcdef', 3, 2),
  SUBSTRING('abc' FROM 9),
  SUBSTRING('abc', 9),
  SUBSTRING('abc', 0, 2)
FROM "SOURCE_SQL_STREAM_001";
