-- rows
-- (rule: text to shorter text is cut)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"abc"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CAST('abcdef' AS VARCHAR(3))
FROM "SOURCE_SQL_STREAM_001";
