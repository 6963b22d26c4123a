-- rows
-- The application as JSON, detail alone.
-- app {"ApplicationName": "a", "ApplicationCode": "@", "InputDescriptions": [{"NamePrefix": "SOURCE_SQL_STREAM", "InputSchema": {"RecordColumns": [{"Name": "log", "SqlType": "VARCHAR(16)", "Mapping": "$.log"}], "RecordFormat": {"RecordFormatType": "JSON"}}, "InputParallelism": {"Count": 1}, "KinesisStreamsInputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/in"}, "InputId": "1.1", "InAppStreamNames": ["SOURCE_SQL_STREAM_001"]}], "OutputDescriptions": [{"Name": "DESTINATION_SQL_STREAM", "KinesisStreamsOutputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/out"}, "DestinationSchema": {"RecordFormatType": "JSON"}}]}
-- input {"log":"Record 0"}
-- output DESTINATION_SQL_STREAM {"LOG":"Record 0"}
CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE OR REPLACE PUMP "COPY_PUMP1" AS INSERT INTO "DESTINATION_SQL_STREAM" SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
