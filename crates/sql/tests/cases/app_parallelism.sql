-- rows
-- With parallelism two streams share the shards by index.
-- app {"ApplicationName": "a", "ApplicationCode": "@", "Inputs": [{"NamePrefix": "SOURCE_SQL_STREAM", "InputSchema": {"RecordColumns": [{"Name": "log", "SqlType": "VARCHAR(16)", "Mapping": "$.log"}], "RecordFormat": {"RecordFormatType": "JSON", "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$"}}}, "RecordEncoding": "UTF-8"}, "InputParallelism": {"Count": 2}, "KinesisStreamsInput": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/in"}}], "Outputs": [{"Name": "DESTINATION_SQL_STREAM", "KinesisStreamsOutput": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/out"}, "DestinationSchema": {"RecordFormatType": "JSON"}}]}
-- input {"t":0,"json":{"log":"a"},"shard":"s0"}
-- input {"t":1,"json":{"log":"b"},"shard":"s1"}
-- input {"t":2,"json":{"log":"c"},"shard":"s2"}
-- output ONE {"LOG":"a"}
-- output TWO {"LOG":"b"}
-- output ONE {"LOG":"c"}
CREATE STREAM one (log VARCHAR(16));
CREATE STREAM two (log VARCHAR(16));
CREATE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE PUMP p1 AS INSERT INTO one SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP p2 AS INSERT INTO two SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_002";
