-- rows
-- Pieces at a delimiter; too few give NULL.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"a,b"}}
-- output D {"C0":"a","C1":"b","C2":null}
CREATE STREAM d (c0 VARCHAR(64), c1 VARCHAR(64), c2 VARCHAR(64));
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.COLUMN1, t.r.COLUMN2, t.r.COLUMN3 FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE("l", 3, ',') AS r FROM "SOURCE_SQL_STREAM_001") AS t;
