-- rows
-- (rule: comment marks in strings are text)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"http://x","V1":"a -- b","V2":"/* c */"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'http://x',
  'a -- b',
  '/* c */'
FROM "SOURCE_SQL_STREAM_001";
