-- error misplaced-aggregate 7:1
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v BIGINT);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
SUM("i")
FROM "SOURCE_SQL_STREAM_001" AS s;
