-- error unknown-stream 5:41
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "i" FROM "SOURCE_SQL_STREAM_001";
CREATE OR REPLACE STREAM d (v INTEGER);
