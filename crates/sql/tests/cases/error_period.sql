-- error unsupported 7:12
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
("t", "t") OVERLAPS ("t", "t")
FROM "SOURCE_SQL_STREAM_001" AS s;
