-- rows
-- The application as JSON, cloudformation.
-- app {"Type": "AWS::KinesisAnalytics::Application", "Properties": {"ApplicationCode": "@", "Inputs": [{"NamePrefix": "SOURCE_SQL_STREAM", "InputSchema": {"RecordColumns": [{"Name": "log", "SqlType": "VARCHAR(16)", "Mapping": "$.log"}], "RecordFormat": {"RecordFormatType": "JSON"}}, "InputParallelism": {"Count": 1}, "KinesisStreamsInput": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/in"}}]}}
-- input {"log":"Record 0"}
-- output DESTINATION_SQL_STREAM {"LOG":"Record 0"}
CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE OR REPLACE PUMP "COPY_PUMP1" AS INSERT INTO "DESTINATION_SQL_STREAM" SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
