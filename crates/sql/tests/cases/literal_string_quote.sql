-- rows
-- (rule: two quotes are one)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"it's","V1":""}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 'it''s',
  ''
FROM "SOURCE_SQL_STREAM_001";
