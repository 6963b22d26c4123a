-- rows
-- A comma join with WHERE, before GROUP BY.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table names {"RecordColumns":[{"Name":"id","SqlType":"INTEGER","Mapping":"$.id"},{"Name":"name","SqlType":"VARCHAR(9)","Mapping":"$.name"}],"RecordFormat":{"RecordFormatType":"JSON"}}
-- line names {"id":1,"name":"one"}
-- line names {"id":2,"name":"two"}
-- line names {"id":2,"name":"deux"}
-- input {"t":0,"json":{"k":"a","n":2}}
-- input {"t":1,"json":{"k":"b","n":1}}
-- input {"bound":60000}
-- output D {"N":"two","C":1}
-- output D {"N":"deux","C":1}
-- output D {"N":"one","C":1}
CREATE STREAM d (n VARCHAR(9), c INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM t."name", COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s, "names" AS t WHERE s."n" = t."id" GROUP BY t."name", FLOOR(s.ROWTIME TO MINUTE);
