-- rows
-- A join with a table inside of CURSOR.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table names {"RecordColumns":[{"Name":"id","SqlType":"INTEGER","Mapping":"$.id"},{"Name":"name","SqlType":"VARCHAR(9)","Mapping":"$.name"}],"RecordFormat":{"RecordFormatType":"JSON"}}
-- line names {"id":1,"name":"one"}
-- line names {"id":2,"name":"two"}
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":2}}
-- input {"t":2,"json":{"k":"c","n":2}}
-- input {"bound":60000}
-- output D {"I":"two","C":2}
-- output D {"I":"one","C":1}
CREATE STREAM d (i VARCHAR(1024), c BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM ITEM, ITEM_COUNT FROM TABLE(TOP_K_ITEMS_TUMBLING(
  CURSOR(SELECT STREAM t."name" AS who FROM "SOURCE_SQL_STREAM_001" AS s JOIN "names" AS t ON s."n" = t."id"), 'who', 5, 60));
