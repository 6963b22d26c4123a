-- rows
-- A source row passes all pumps in order of definition.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- output A {"V":1}
-- output C {"V":100}
-- output B {"V":2}
-- output A {"V":2}
-- output C {"V":100}
-- output B {"V":4}
CREATE STREAM a (v INTEGER);
CREATE STREAM b (v INTEGER);
CREATE STREAM c (v INTEGER);
CREATE PUMP p1 AS INSERT INTO a SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP p2 AS INSERT INTO c SELECT STREAM 100 FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP p3 AS INSERT INTO b SELECT STREAM v * 2 FROM a;
