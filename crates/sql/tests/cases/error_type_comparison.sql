-- error type-mismatch 7:5
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v BOOLEAN);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM
"i" > 'a'
FROM "SOURCE_SQL_STREAM_001" AS s;
