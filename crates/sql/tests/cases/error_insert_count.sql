-- error column-count 6:51
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v INTEGER, w INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d (v, w)  SELECT STREAM "i" FROM "SOURCE_SQL_STREAM_001";
