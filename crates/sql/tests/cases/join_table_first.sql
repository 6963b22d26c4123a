-- rows
-- The table may be named first.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table names {"RecordColumns":[{"Name":"id","SqlType":"INTEGER","Mapping":"$.id"},{"Name":"name","SqlType":"VARCHAR(9)","Mapping":"$.name"}],"RecordFormat":{"RecordFormatType":"JSON"}}
-- line names {"id":1,"name":"one"}
-- line names {"id":2,"name":"two"}
-- line names {"id":2,"name":"deux"}
-- input {"t":0,"json":{"k":"a","n":1}}
-- output D {"K":"a","N":"one"}
CREATE STREAM d (k VARCHAR(9), n VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM s."k", t."name" FROM "names" AS t INNER JOIN "SOURCE_SQL_STREAM_001" AS s ON s."n" = t."id";
