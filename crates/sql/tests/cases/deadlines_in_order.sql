-- rows
-- Deadlines fire in order of time, then of definition, before the row that moved time.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":125000,"json":{"k":"b","n":1}}
-- output ONE {"T":"1970-01-01 00:01:00.000"}
-- output TWO {"T":"1970-01-01 00:02:00.000"}
-- output SRC {"T":"1970-01-01 00:02:05.000"}
CREATE STREAM two (t TIMESTAMP);
CREATE STREAM one (t TIMESTAMP);
CREATE STREAM src (t TIMESTAMP);
CREATE PUMP p2 AS INSERT INTO two SELECT STREAM ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(s.ROWTIME BY INTERVAL '2' MINUTE);
CREATE PUMP p1 AS INSERT INTO one SELECT STREAM ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(s.ROWTIME BY INTERVAL '1' MINUTE);
CREATE PUMP p0 AS INSERT INTO src SELECT STREAM ROWTIME FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'b';
