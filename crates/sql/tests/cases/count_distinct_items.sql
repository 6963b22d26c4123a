-- rows
-- COUNT_DISTINCT_ITEMS_TUMBLING; NULLs don't count.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"b"}}
-- input {"t":1,"json":{"k":"a"}}
-- input {"t":2,"json":{}}
-- input {"t":3,"json":{"k":"b"}}
-- input {"bound":60000}
-- output D {"C":2}
CREATE STREAM d (c BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM number_of_distinct_items FROM TABLE(COUNT_DISTINCT_ITEMS_TUMBLING(CURSOR(SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001"), 'k', 60)) AS t;
