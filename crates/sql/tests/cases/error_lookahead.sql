-- error unsupported 7:1
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v VARCHAR(9));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
SUBSTRING("s" FROM 'a(?=b)')
FROM "SOURCE_SQL_STREAM_001" AS s;
