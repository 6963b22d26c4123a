"""A KCL 3 application (Maven) consumes from `distributary local`, by polling and by enhanced fan-out, with what the Java SDK
put by CBOR; its leases live in moto's DynamoDB. It is what most readers of a Kinesis stream are."""

from distributary import create, fan_out, finished, wait_for
from java import CONSUME_SECONDS, Consumer
from records import put_all

PUTS = 1_000


def by_key(records):
    keys = {}
    for _, _, key, data in records:
        keys.setdefault(key, []).append(data)
    return keys


def test_a_kcl_application_consumes_every_record_and_a_split_shard_to_its_end_by_polling_and_by_fan_out(
        start_local, dynamo, files, measured):
    local = start_local("polled:2", "pushed:2")
    client = local.client()
    apps = {"polled": Consumer(files, local.endpoint, dynamo.endpoint, "polled", "polling", PUTS)}
    # One after the other until each has put: two cold Java virtual machines at once would only wait for each other.
    assert apps["polled"].wait_put() == f"PUT {PUTS}"
    apps["pushed"] = Consumer(files, local.endpoint, dynamo.endpoint, "pushed", "fanout", PUTS)
    assert apps["pushed"].wait_put() == f"PUT {PUTS}"
    more = [(f"late-{i % 7}", None, f"after the split {i}".encode()) for i in range(200)] + [("late-0", None, b"")]
    try:
        for stream in apps:
            client.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
            wait_for("the split", 30, lambda s=stream: client.describe_stream_summary(StreamName=s)[
                "StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
            put_all(client, stream, more)
        want = {f"java-{k}": [f"java {i}".encode() + b"\xff" for i in range(k, PUTS, 20)] for k in range(20)}
        for key, _, data in more:
            want.setdefault(key, []).append(data)
        for stream, app in apps.items():
            wait_for(f"{PUTS + len(more)} records of {stream}, {len(app.records)} so far:\n{app.log()}", CONSUME_SECONDS,
                     lambda a=app: a.alive() or len(a.records) >= PUTS + len(more))
            wait_for(f"the end of the shard that was split, {stream}", 60, lambda a=app: a.ended)
            assert by_key(app.records) == want, f"{stream}: the records differ"
            assert app.ended == {"shardId-000000000000"}
            measured(f"{stream}: {len(app.records)} records, each key in order, the split shard ended before its children; first after "
                     f"{app.first:.0f} s")
            shards = [shard for shard, *_ in app.records]
            last_of_parent = max(i for i, s in enumerate(shards) if s == "shardId-000000000000")
            assert not {"shardId-000000000002", "shardId-000000000003"} & set(shards[:last_of_parent])
    finally:
        codes = {stream: app.stop() for stream, app in apps.items()}
    assert codes == dict.fromkeys(apps, 0), [app.log() for app in apps.values()]


def test_a_kcl_application_consumes_what_distributary_copied(start_local, dynamo, files, measured):
    local = start_local("input:2")
    client = local.client()
    create(client, "output", 3)
    records = [(f"key-{i % 11}", None, bytes([i % 256]) * (i % 50 + 1)) for i in range(2_000)]
    put_all(client, "input", records)
    finished(files, local.endpoint, *fan_out("input", ["output"], "--until-caught-up"))
    app = Consumer(files, local.endpoint, dynamo.endpoint, "output", "polling", 0)
    try:
        wait_for(f"{len(records)} records:\n{app.log()}", CONSUME_SECONDS, lambda: app.alive() or len(app.records) >= len(records))
        want = {}
        for key, _, data in records:
            want.setdefault(key, []).append(data)
        assert by_key(app.records) == want
        measured(f"{len(app.records)} copied records, each key in order; first after {app.first:.0f} s")
    finally:
        assert app.stop() == 0, app.log()
