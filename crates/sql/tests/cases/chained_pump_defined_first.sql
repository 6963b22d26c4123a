-- rows
-- A pump that is fed by a later one is processed as soon as it has a row.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output A {"V":1}
-- output B {"V":2}
-- output C {"V":3}
CREATE STREAM a (v INTEGER);
CREATE STREAM b (v INTEGER);
CREATE STREAM c (v INTEGER);
CREATE PUMP p1 AS INSERT INTO b SELECT STREAM v + 1 FROM a;
CREATE PUMP p2 AS INSERT INTO a SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP p3 AS INSERT INTO c SELECT STREAM "n" + 2 FROM "SOURCE_SQL_STREAM_001";
