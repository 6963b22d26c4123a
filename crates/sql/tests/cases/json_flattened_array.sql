-- rows
-- One array is flattened: a row per element, the other columns repeated.
-- column "k" VARCHAR(9) $.k
-- column "b" INTEGER $.l[0:].b
-- column "c" VARCHAR(9) $.l[0:].c
-- input {"l":[{"b":1,"c":"x"},{"b":2}],"k":"a"}
-- input {"k":"b"}
-- input {"k":"c","l":[]}
-- output D {"K":"a","B":1,"C":"x"}
-- output D {"K":"a","B":2,"C":null}
-- output D {"K":"b","B":null,"C":null}
CREATE STREAM d (k VARCHAR(9), b INTEGER, c VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
