-- rows
-- Metadata columns of the input stream.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":1500,"json":{"k":"a"},"key":"pk","seq":"49","shard":"shardId-7"}
-- output D {"T":"1970-01-01 00:00:01.500","A":"1970-01-01 00:00:01.500","S":"shardId-7","Q":"49","P":"pk"}
CREATE STREAM d (t TIMESTAMP, a TIMESTAMP, s VARCHAR(64), q VARCHAR(128), p VARCHAR(256));
CREATE PUMP p AS INSERT INTO d SELECT STREAM x."ROWTIME", APPROXIMATE_ARRIVAL_TIME, shard_id, "SEQUENCE_NUMBER", x.PARTITION_KEY FROM "SOURCE_SQL_STREAM_001" AS x;
