-- rows
-- (rule: binary is base64 in JSON)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"Cv8="}
CREATE OR REPLACE STREAM d (v0 VARBINARY(4));
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM X'0AFF'
FROM "SOURCE_SQL_STREAM_001";
