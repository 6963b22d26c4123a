-- rows
-- Enrich, clean, and split by kind into streams.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"  a ","n":5}}
-- input {"t":1,"json":{"k":"b","n":-1}}
-- input {"t":2,"json":{"k":"c"}}
-- output CLEAN {"K":"A","N":5,"SIGN":"plus"}
-- output PLUS {"K":"A"}
-- output CLEAN {"K":"B","N":-1,"SIGN":"minus"}
-- output MINUS {"K":"B"}
-- output CLEAN {"K":"C","N":0,"SIGN":"none"}
CREATE STREAM clean (k VARCHAR(9), n INTEGER, sign VARCHAR(5));
CREATE STREAM plus (k VARCHAR(9));
CREATE STREAM minus (k VARCHAR(9));
CREATE PUMP c AS INSERT INTO clean SELECT STREAM UPPER(TRIM("k")), COALESCE("n", 0),
  CASE WHEN "n" > 0 THEN 'plus' WHEN "n" < 0 THEN 'minus' ELSE 'none' END FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP pp AS INSERT INTO plus SELECT STREAM k FROM clean WHERE sign = 'plus';
CREATE PUMP mm AS INSERT INTO minus SELECT STREAM k FROM clean WHERE sign = 'minus';
