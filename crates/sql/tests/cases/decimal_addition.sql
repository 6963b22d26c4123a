-- rows
-- (rule: + keeps the larger scale)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"3.75","V1":"-0.5"}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CAST(1.5 + 2.25 AS VARCHAR(20)),
  CAST(1.5 - 2 AS VARCHAR(20))
FROM "SOURCE_SQL_STREAM_001";
