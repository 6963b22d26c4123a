-- rows
-- (rule: more than two digits with and without a precision)
-- column "i" INTEGER $.i
-- input {"i":7}
-- output D {"V0":120,"V1":120}
CREATE OR REPLACE STREAM d (v0 BIGINT, v1 BIGINT);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM CAST(INTERVAL '120' SECOND AS BIGINT),
  CAST(INTERVAL '120' SECOND(3) AS BIGINT)
FROM "SOURCE_SQL_STREAM_001";
