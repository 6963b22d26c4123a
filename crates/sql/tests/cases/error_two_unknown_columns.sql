-- error unknown-column 7:1; unknown-column 7:7
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
"x" + "y"
FROM "SOURCE_SQL_STREAM_001" AS s;
