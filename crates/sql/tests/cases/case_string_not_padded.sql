-- rows
-- (rule: literals are not padded in CASE)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"a."}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CASE WHEN TRUE THEN 'a' ELSE 'long' END || '.'
FROM "SOURCE_SQL_STREAM_001";
