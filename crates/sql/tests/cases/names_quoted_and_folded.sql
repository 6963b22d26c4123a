-- rows
-- Unquoted names are folded to upper case; quoted ones are kept.
-- column "Log" VARCHAR(9) $.Log
-- column "LOG" VARCHAR(9) $.LOG
-- input {"Log":"a","LOG":"b"}
-- output D {"X":"a","Y":"b","z z":"b"}
CREATE OR REPLACE STREAM d (x VARCHAR(9), "Y" VARCHAR(9), "z z" VARCHAR(9));
CREATE OR REPLACE PUMP p AS INSERT INTO "D" SELECT STREAM "Log", log, s.Log FROM "SOURCE_SQL_STREAM_001" AS s;
