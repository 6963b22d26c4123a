-- rows
-- TOP_K_ITEMS_TUMBLING: by count, then item.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":0,"json":{"k":"b"}}
-- input {"t":1,"json":{"k":"a"}}
-- input {"t":2,"json":{"k":"c"}}
-- input {"t":3,"json":{"k":"c"}}
-- input {"t":4,"json":{"k":"b"}}
-- input {"t":5,"json":{"k":"d"}}
-- input {"bound":60000}
-- output D {"I":"b","C":2,"T":"1970-01-01 00:01:00.000"}
-- output D {"I":"c","C":2,"T":"1970-01-01 00:01:00.000"}
-- output D {"I":"a","C":1,"T":"1970-01-01 00:01:00.000"}
CREATE STREAM d (i VARCHAR(1024), c BIGINT, t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d SELECT STREAM item, item_count, ROWTIME FROM TABLE(TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 'k', 3, 60));
