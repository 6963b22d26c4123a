-- rows
-- The row value named by the alias.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"a b"}}
-- output D {"A":"b"}
CREATE STREAM d (a VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.COLUMN2 FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE("l", 2, ' ') FROM "SOURCE_SQL_STREAM_001") AS t(r);
