-- rows
-- Log parsing: lines into fields, then counts by level.
-- column "l" VARCHAR(200) $.l
-- input {"t":0,"json":{"l":"2024-03-05 ERROR disk full"}}
-- input {"t":1,"json":{"l":"2024-03-05 WARN slow"}}
-- input {"t":2,"json":{"l":"garbage"}}
-- input {"t":3,"json":{"l":"2024-03-05 ERROR oops"}}
-- input {"bound":60000}
-- output LINES {"LEVEL":"ERROR","TEXT":"disk full"}
-- output LINES {"LEVEL":"WARN","TEXT":"slow"}
-- output LINES {"LEVEL":"ERROR","TEXT":"oops"}
-- output COUNTS {"LEVEL":"ERROR","N":2}
-- output COUNTS {"LEVEL":"WARN","N":1}
CREATE STREAM lines (level VARCHAR(8), text VARCHAR(64));
CREATE STREAM counts (level VARCHAR(8), n INTEGER);
CREATE PUMP parse AS INSERT INTO lines SELECT STREAM t.r.COLUMN2, t.r.COLUMN3
FROM (SELECT STREAM REGEX_LOG_PARSE("l", '(\S+) ([A-Z]+) (.*)') AS r FROM "SOURCE_SQL_STREAM_001") AS t WHERE t.r.COLUMN2 IS NOT NULL;
CREATE PUMP tally AS INSERT INTO counts SELECT STREAM level, COUNT(*) FROM lines GROUP BY level, FLOOR(lines.ROWTIME TO MINUTE);
