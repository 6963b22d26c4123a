-- rows
-- (rule: Java classes are ASCII)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"7","V1":" ","V2":"a-b"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM SUBSTRING('٣7' FROM '\d'),
  SUBSTRING('a b' FROM '\s'),
  REGEX_REPLACE('a.b', '\.', '-', 1, 0)
FROM "SOURCE_SQL_STREAM_001";
