-- rows
-- The array is flattened even if none of its columns is used.
-- column "k" VARCHAR(9) $.k
-- column "c" VARCHAR(9) $.l[0:].c
-- input {"l":[{"c":"x"},{"c":"y"}],"k":"a"}
-- output D {"K":"a"}
-- output D {"K":"a"}
CREATE STREAM d (k VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001";
