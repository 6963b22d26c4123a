-- rows
-- DISTINCT: at once, forgotten when the monotonic item changes.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"a","n":2}}
-- input {"t":2,"json":{"k":"b","n":3}}
-- input {"t":60000,"json":{"k":"a","n":4}}
-- output D {"W":"1970-01-01 00:00:00.000","K":"a"}
-- output D {"W":"1970-01-01 00:00:00.000","K":"b"}
-- output D {"W":"1970-01-01 00:01:00.000","K":"a"}
CREATE STREAM d (w TIMESTAMP, k VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM DISTINCT FLOOR(s.ROWTIME TO MINUTE), "k" FROM "SOURCE_SQL_STREAM_001" AS s;
