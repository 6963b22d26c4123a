-- rows
-- Clickstream sessions by stagger windows, joined with a table of names.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table users {"RecordColumns":[{"Name":"id","SqlType":"VARCHAR(9)"},{"Name":"name","SqlType":"VARCHAR(9)"}],"RecordFormat":{"RecordFormatType":"CSV"}}
-- line users u1,Ann
-- input {"t":0,"json":{"k":"u1","n":1}}
-- input {"t":10000,"json":{"k":"u1","n":2}}
-- input {"t":20000,"json":{"k":"u2","n":5}}
-- input {"t":95000,"json":{"k":"u1","n":7}}
-- input {"bound":300000}
-- output SESSIONS {"USER_NAME":"Ann","CLICKS":2,"FIRST_N":1,"LAST_N":2}
-- output SESSIONS {"USER_NAME":"?","CLICKS":1,"FIRST_N":5,"LAST_N":5}
-- output SESSIONS {"USER_NAME":"Ann","CLICKS":1,"FIRST_N":7,"LAST_N":7}
CREATE STREAM raw_sessions (u VARCHAR(9), clicks INTEGER, first_n INTEGER, last_n INTEGER);
CREATE STREAM sessions (user_name VARCHAR(9), clicks INTEGER, first_n INTEGER, last_n INTEGER);
CREATE PUMP p1 STOPPED AS INSERT INTO raw_sessions SELECT STREAM "k", 0, 0, 0 FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP p2 AS INSERT INTO sessions
SELECT STREAM COALESCE(n."name", '?'), x.clicks, x.f, x.l FROM
 (SELECT STREAM "k" AS u, COUNT(*) AS clicks, FIRST_VALUE("n") AS f, LAST_VALUE("n") AS l FROM "SOURCE_SQL_STREAM_001"
  WINDOWED BY STAGGER (PARTITION BY "k" RANGE INTERVAL '1' MINUTE)) AS x
LEFT JOIN "users" AS n ON n."id" = x.u;
