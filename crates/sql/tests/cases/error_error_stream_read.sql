-- error reserved-name 6:66
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM 1 FROM   "error_stream";
