-- error misplaced-window 7:15
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
SUM("n") OVER w FROM "SOURCE_SQL_STREAM_001" AS s
