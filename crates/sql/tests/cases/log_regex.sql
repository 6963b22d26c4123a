-- rows
-- A column per group; the whole must match.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"k=v"}}
-- output D {"C0":"k","C1":"v"}
CREATE STREAM d (c0 VARCHAR(64), c1 VARCHAR(64));
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.COLUMN1, t.r.COLUMN2 FROM (SELECT STREAM REGEX_LOG_PARSE("l", '(\w+)=(\w+)') AS r FROM "SOURCE_SQL_STREAM_001") AS t;
