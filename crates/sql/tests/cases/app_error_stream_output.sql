-- rows
-- error_stream may be an output.
-- app {"ApplicationName": "a", "ApplicationCode": "@", "Inputs": [{"NamePrefix": "SOURCE_SQL_STREAM", "InputSchema": {"RecordColumns": [{"Name": "log", "SqlType": "VARCHAR(16)", "Mapping": "$.log"}], "RecordFormat": {"RecordFormatType": "JSON", "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$"}}}, "RecordEncoding": "UTF-8"}, "InputParallelism": {"Count": 1}, "KinesisStreamsInput": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/in"}}], "Outputs": [{"Name": "error_stream", "KinesisStreamsOutput": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/out"}, "DestinationSchema": {"RecordFormatType": "JSON"}}]}
-- input {"log":"x"}
-- output DESTINATION_SQL_STREAM {"LOG":"x"}
CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE OR REPLACE PUMP "COPY_PUMP1" AS INSERT INTO "DESTINATION_SQL_STREAM" SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
