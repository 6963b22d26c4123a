-- rows
-- (rule: occurrence 0 is all)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"a1b#","V1":"a#b#","V2":"1a2b2","V3":"a1b#2","V4":"abc"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64), v3 VARCHAR(64), v4 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM REGEX_REPLACE('a1b22', '[0-9]+', '#', 1, 2),
  REGEX_REPLACE('a1b22', '[0-9]+', '#', 1, 0),
  REGEX_REPLACE('a1b22', '([a-z])([0-9])', '$2$1', 1, 0),
  REGEX_REPLACE('a1b22', '[0-9]', '#', 3, 1),
  REGEX_REPLACE('abc', 'b', '#', 9, 0)
FROM "SOURCE_SQL_STREAM_001";
