-- rows
-- Named and typed columns, quotes and an escape.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"x|7|'a|b'|c!|d"}}
-- output D {"C0":"x","C1":7,"C2":"a|b","C3":"c|d"}
CREATE STREAM d (c0 VARCHAR(64), c1 INTEGER, c2 VARCHAR(64), c3 VARCHAR(64));
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.A, t.r.B, t.r.C, t.r.D FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE("l", 'a TYPE VARCHAR(8), b TYPE INTEGER, c TYPE VARCHAR(9), d TYPE VARCHAR(9)', '|', '!', '''') AS r FROM "SOURCE_SQL_STREAM_001") AS t;
