-- rows
-- Partitions are apart; NULL is one.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- input {"t":2,"json":{"n":5}}
-- input {"t":3,"json":{"k":"a","n":4}}
-- input {"t":4,"json":{"n":6}}
-- output D {"K":"a","S":1}
-- output D {"K":"b","S":2}
-- output D {"K":null,"S":5}
-- output D {"K":"a","S":5}
-- output D {"K":null,"S":11}
CREATE STREAM d (k VARCHAR(9), s INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", SUM("n") OVER (PARTITION BY "k" RANGE INTERVAL '1' MINUTE PRECEDING) FROM "SOURCE_SQL_STREAM_001";
