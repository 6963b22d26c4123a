-- rows
-- STREAM may be missing, in any case.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"V":1}
-- output D {"V":1}
-- output D {"V":1}
create or replace stream d (v integer);
create or replace pump p as insert into d select "n" from "SOURCE_SQL_STREAM_001";
CREATE PUMP q AS INSERT INTO d SELECT stream "n" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP r AS INSERT INTO d SELECT ALL "n" FROM "SOURCE_SQL_STREAM_001"
