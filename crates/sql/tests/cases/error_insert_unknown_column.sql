-- error unknown-column 6:44
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d (w) SELECT STREAM "i" FROM "SOURCE_SQL_STREAM_001";
