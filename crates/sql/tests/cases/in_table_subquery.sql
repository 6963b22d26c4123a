-- rows
-- IN (SELECT …) and EXISTS over a reference table.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- table names {"RecordColumns":[{"Name":"id","SqlType":"INTEGER","Mapping":"$.id"},{"Name":"name","SqlType":"VARCHAR(9)","Mapping":"$.name"}],"RecordFormat":{"RecordFormatType":"JSON"}}
-- line names {"id":1,"name":"one"}
-- line names {"id":2,"name":"two"}
-- line names {"id":2,"name":"deux"}
-- input {"t":0,"json":{"k":"a","n":1}}
-- input {"t":1,"json":{"k":"b","n":9}}
-- output D {"K":"a","E":true}
CREATE STREAM d (k VARCHAR(9), e BOOLEAN);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", EXISTS (SELECT * FROM "names") FROM "SOURCE_SQL_STREAM_001" WHERE "n" IN (SELECT "id" FROM "names");
