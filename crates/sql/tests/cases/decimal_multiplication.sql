-- rows
-- (rule: * adds the scales)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"3.375"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CAST(1.5 * 2.25 AS VARCHAR(20))
FROM "SOURCE_SQL_STREAM_001";
