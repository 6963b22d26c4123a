-- rows
-- (rule: the part between the marks)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"abc","V1":null}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM SUBSTRING('xabcz' SIMILAR 'x#"%#"z' ESCAPE '#'),
  SUBSTRING('abcz' SIMILAR 'x#"%#"z' ESCAPE '#')
FROM "SOURCE_SQL_STREAM_001";
