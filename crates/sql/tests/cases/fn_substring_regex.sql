-- rows
-- (rule: first match or NULL)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"r77","V1":null}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM SUBSTRING('id=r77;' FROM 'r[0-9]+'),
  SUBSTRING('id=;' FROM 'r[0-9]+')
FROM "SOURCE_SQL_STREAM_001";
