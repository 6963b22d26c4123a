-- rows
-- Comments: two dashes, two slashes, and blocks.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":1}
CREATE STREAM d (v INTEGER); // to the end; of the line
/* a block; -- with dashes
   over lines */
CREATE PUMP p AS INSERT INTO d SELECT STREAM "n" /* here */ FROM "SOURCE_SQL_STREAM_001"; -- last
;;
