"""An application of Kinesis Data Analytics for SQL, unchanged, between two streams that boto3 writes and reads."""

import json

from distributary import Run, create, fan_out, finished, wait_for
from records import put_all

CODE = """CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE OR REPLACE PUMP "COPY_PUMP1" AS INSERT INTO "DESTINATION_SQL_STREAM" SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
"""
SCHEMA = {
    "RecordFormat": {"RecordFormatType": "JSON", "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$"}}},
    "RecordEncoding": "UTF-8",
    "RecordColumns": [{"Name": "log", "SqlType": "VARCHAR(16)", "Mapping": "$.log"}],
}


def stream_arn(name):
    return f"arn:aws:kinesis:us-east-1:123456789012:stream/{name}"


def described(code, output):
    """What `aws kinesisanalytics describe-application` printed."""
    role = "arn:aws:iam::123456789012:role/kinesis-analytics"
    return {"ApplicationDetail": {
        "ApplicationName": "copy", "ApplicationARN": "arn:aws:kinesisanalytics:us-east-1:123456789012:application/copy",
        "ApplicationStatus": "RUNNING", "ApplicationVersionId": 3, "ApplicationCode": code,
        "InputDescriptions": [{
            "InputId": "1.1", "NamePrefix": "SOURCE_SQL_STREAM", "InAppStreamNames": ["SOURCE_SQL_STREAM_001"],
            "KinesisStreamsInputDescription": {"ResourceARN": stream_arn("input"), "RoleARN": role},
            "InputSchema": SCHEMA, "InputParallelism": {"Count": 1},
            "InputStartingPositionConfiguration": {"InputStartingPosition": "NOW"}}],
        "OutputDescriptions": [{
            "OutputId": "2.1", "Name": output, "DestinationSchema": {"RecordFormatType": "JSON"},
            "KinesisStreamsOutputDescription": {"ResourceARN": stream_arn("output1"), "RoleARN": role}}]}}


def rows(client, stream):
    """`(partition key, row)` of every record, in the order of each shard."""
    found = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        token = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        answer = client.get_records(ShardIterator=token["ShardIterator"])
        found += [(record["PartitionKey"], record["Data"].decode()) for record in answer["Records"]]
    return found


def put_logs(client, count):
    records = [(f"key-{i % 5}", None, json.dumps({"log": f"Record {i}"}).encode()) for i in range(count)]
    put_all(client, "input", records)
    return [(key, f'{{"LOG":"Record {i}"}}') for i, (key, _, _) in enumerate(records)]


def by_key(found):
    keys = {}
    for key, row in found:
        keys.setdefault(key, []).append(row)
    return keys


def test_the_code_alone_gives_the_rows_that_aws_gave(files, start_local):
    server = start_local()
    client = server.client()
    for name in ("input", "output1"):
        create(client, name, 2)
    expected = put_logs(client, 100)
    (files / "copy.sql").write_text(CODE)
    (files / "copy.schema.json").write_text(json.dumps(SCHEMA))

    finished(files, server.endpoint, *fan_out("input", ["output1"], "--pump", "copy.sql", "--until-caught-up"))
    assert by_key(rows(client, "output1")) == by_key(expected)


def test_the_application_as_described_by_aws_runs_as_it_is(files, start_local):
    server = start_local()
    client = server.client()
    for name in ("input", "output1", "errors"):
        create(client, name, 1)
    expected = put_logs(client, 20)
    client.put_record(StreamName="input", PartitionKey="bad", Data=b"no JSON")
    (files / "app.json").write_text(json.dumps(described(CODE, "DESTINATION_SQL_STREAM")))
    (files / "fan-out.toml").write_text(
        'from = "input"\n'
        '[[pump]]\nname = "copy"\nsql = "app.json"\n'
        '[[output]]\nstream = "output1"\npump = "copy"\n'
        '[[output]]\nstream = "errors"\npump = "copy"\nfrom-stream = "error_stream"\n')

    finished(files, server.endpoint, "run", "-c", "fan-out.toml", "--until-caught-up")
    assert rows(client, "output1") == expected
    [(_, error)] = wait_for("the error row", 10, lambda: rows(client, "errors"))
    error = json.loads(error)
    assert bytes.fromhex(error["DATA_ROW"]) == b"no JSON"
    assert (error["ERROR_LEVEL"], error["PUMP_NAME"]) == ("WARNING", "null")


def test_a_window_counts_every_record_once(files, start_local):
    server = start_local()
    client = server.client()
    for name in ("input", "output1"):
        create(client, name, 2)
    put_logs(client, 300)
    code = ('CREATE STREAM "COUNTS" (n BIGINT); CREATE PUMP p AS INSERT INTO "COUNTS" SELECT STREAM COUNT(*) '
            'FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(s.ROWTIME BY INTERVAL \'1\' SECOND)')
    (files / "count.sql").write_text(code)
    (files / "count.schema.json").write_text(json.dumps(SCHEMA))

    def counted():
        counts = [json.loads(row)["N"] for _, row in rows(client, "output1")]
        return counts if sum(counts) >= 300 else None

    # Caught up, the idle bound closes the last window.
    with Run(files, server.endpoint, *fan_out("input", ["output1"], "--pump", "count.sql")) as run:
        counts = wait_for("all records counted", 30, counted)
        assert run.stop() == 0, run.tail()
    assert sum(counts) == 300, counts
