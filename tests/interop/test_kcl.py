"""A KCL 3 application (Maven) consumes from `distributary local`, by polling and by enhanced fan-out, with what the Java SDK
put by CBOR; its leases live in moto's DynamoDB. It is what most readers of a Kinesis stream are."""

import hashlib

import pytest

from conftest import LONG
from distributary import create, fan_out, finished, wait_for
from java import CONSUME_SECONDS, Consumer
from records import put_all, read_stream

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


@pytest.mark.skipif(not LONG, reason="two more starts of a KCL application: `tests/interop/run --all`")
def test_a_kcl_application_and_distributary_take_turns_at_one_stream(start_local, dynamo, files, measured):
    """The application consumes copied records; a fan-out goes on at its checkpoints, and the application at the fan-out's."""
    local = start_local("input:2")
    client = local.client()
    create(client, "output", 3)
    create(client, "further", 2)
    dynamo_url = {"AWS_ENDPOINT_URL_DYNAMODB": dynamo.endpoint}

    def put(name, count):
        records = [(f"key-{i % 11}", None, f"{name} {i}".encode()) for i in range(count)]
        put_all(client, "input", records)
        finished(files, local.endpoint, *fan_out("input", ["output"], "--until-caught-up"))
        want = {}
        for key, _, data in records:
            want.setdefault(key, []).append(data)
        return want

    def consume(want):
        app = Consumer(files, local.endpoint, dynamo.endpoint, "output", "polling", 0, "kcl-turns")
        try:
            count = sum(map(len, want.values()))
            wait_for(f"{count} records:\n{app.log()}", CONSUME_SECONDS, lambda: app.alive() or len(app.records) >= count)
            text, _ = finished(files, local.endpoint, *move("import"), code=1, **dynamo_url)
            assert "renews it; stop the KCL application first" in text, text
            assert by_key(app.records) == want
            measured(f"{len(app.records)} copied records, each key in order; first after {app.first:.0f} s")
        finally:
            assert app.stop() == 0, app.log()

    def move(verb):
        further = fan_out("output", ["further"], "--name", "further")[1:]
        return ["leases", verb, "--table", "kcl-turns", *further]

    consume(put("of the application", 2_000))
    text, _ = finished(files, local.endpoint, *move("import"), **dynamo_url)
    assert "imported the positions of shards: 3" in text, text
    text, _ = finished(files, local.endpoint, *move("import"), code=1, **dynamo_url)
    assert "has progress already" in text, text

    second = put("of the fan-out", 500)
    finished(files, local.endpoint, *fan_out("output", ["further"], "--name", "further", "--until-caught-up"))
    copied = read_stream(client, "further")
    # A checkpoint may lie within an aggregate, so the record of each checkpoint is sent again.
    assert copied.records == 500 + 3
    for key, sent in second.items():
        assert copied.by_key[key][-len(sent):] == [hashlib.sha256(data).digest()[:16] for data in sent]
    text, _ = finished(files, local.endpoint, *move("export"), **dynamo_url)
    assert "exported the positions of shards: 3" in text, text
    consume(put("of the application again", 300))
