-- rows
-- Time and rest; a log has no year.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"Mar  5 14:07:09 host sshd: hi"}}
-- output D {"C0":"1970-03-05 14:07:09.000","C1":"host sshd: hi"}
CREATE STREAM d (c0 TIMESTAMP, c1 VARCHAR(64));
CREATE PUMP p AS INSERT INTO d SELECT STREAM t.r.COLUMN1, t.r.COLUMN2 FROM (SELECT STREAM SYS_LOG_PARSE("l") AS r FROM "SOURCE_SQL_STREAM_001") AS t;
