-- rows
-- (rule: CASE)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":"seven","V1":"small","V2":null,"V3":1}
CREATE OR REPLACE STREAM d (v0 VARCHAR(64), v1 VARCHAR(64), v2 VARCHAR(64), v3 INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CASE "i" WHEN 1 THEN 'one' WHEN 7 THEN 'seven' END,
  CASE WHEN "i" > 9 THEN 'big' ELSE 'small' END,
  CASE WHEN "i" > 9 THEN 'big' END,
  CASE WHEN TRUE THEN 1 ELSE 1/0 END
FROM "SOURCE_SQL_STREAM_001";
