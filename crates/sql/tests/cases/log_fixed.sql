-- rows
-- Columns at fixed places, counted from 0.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"abc42x"}}
-- output D {"C0":"abc","C1":42}
CREATE STREAM d (c0 VARCHAR(64), c1 INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.A, t.r.B FROM (SELECT STREAM FIXED_COLUMN_LOG_PARSE("l", 'a TYPE VARCHAR(3) START 0 FOR 3, b TYPE INTEGER START 3 FOR 2') AS r FROM "SOURCE_SQL_STREAM_001") AS t;
