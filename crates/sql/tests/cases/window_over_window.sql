-- rows
-- A window over another window's rows.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":70000,"json":{"k":"a","n":2}}
-- input {"t":130000,"json":{"k":"a","n":3}}
-- input {"bound":180000}
-- input {"bound":240000}
-- output M {"C":1}
-- output M {"C":1}
-- output T {"S":1,"T":"1970-01-01 00:02:00.000"}
-- output M {"C":1}
-- output T {"S":2,"T":"1970-01-01 00:04:00.000"}
CREATE STREAM m (c INTEGER);
CREATE STREAM t (s INTEGER, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO m SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY FLOOR(s.ROWTIME TO MINUTE);
CREATE PUMP q AS INSERT INTO t SELECT STREAM SUM(c), ROWTIME FROM m GROUP BY STEP(m.ROWTIME BY INTERVAL '2' MINUTE);
