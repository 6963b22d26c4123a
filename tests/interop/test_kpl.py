"""KPL aggregates made by aws-kinesis-agg, copied under reshards and kill -9, and read as the KCL reads."""

import base64
import hashlib
import json
import random
from collections import Counter
from pathlib import Path

from aws_kinesis_agg import aggregator, deaggregator

from distributary import Run, create, finished, wait_for
from servers import kinesis

MAGIC = b"\xf3\x89\x9a\xc2"
AGGREGATES = 300
KILLS = 4
# Of one checkpoint interval, of the requests in flight at a kill, and of the aggregates that a reshard misplaced.
INTERVAL = "200ms"


def made(seed, count):
    """Aggregates of user records over all hash keys, and plain records between: `(key, hash key, data)`, and the user records."""
    rng = random.Random(seed)
    records, users = [], []
    for n in range(count):
        packer = aggregator.RecordAggregator()
        for i in range(rng.choice((1, 2, 5, 31, 60))):
            key = f"user-{rng.randrange(80)}"
            hash_key = str(rng.randrange(2**128)) if rng.random() < 0.1 else None
            data = f"{n}.{i}:".encode() + rng.randbytes(rng.choice((0, 10, 200)))
            assert packer.add_user_record(key, data, hash_key) is None
            users.append((key, data))
        key, hash_key, data = packer.clear_and_get().get_contents()
        records.append((key, hash_key, data))
        if n % 3 == 0:
            users.append((f"plain-{n}", b"plain"))
            records.append((f"plain-{n}", None, b"plain"))
    return records, users


def put(client, stream, records):
    for i in range(0, len(records), 50):
        entries = [{"PartitionKey": key, "Data": data} | ({"ExplicitHashKey": hash_key} if hash_key else {})
                   for key, hash_key, data in records[i:i + 50]]
        assert client.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


def shards(client, stream):
    return client.list_shards(StreamName=stream)["Shards"]


def raw(client, stream, shard):
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while iterator:
        answer = client.get_records(ShardIterator=iterator)
        yield from answer["Records"]
        if not answer["Records"] and not answer["MillisBehindLatest"]:
            return
        iterator = answer.get("NextShardIterator")


def user_records(record):
    """The user records of a record, by aws-kinesis-agg: `(key, explicit hash key, data)`."""
    event = {"kinesis": {"kinesisSchemaVersion": "1.0", "data": base64.b64encode(record["Data"]).decode(),
                         "partitionKey": record["PartitionKey"], "sequenceNumber": record["SequenceNumber"],
                         "approximateArrivalTimestamp": 0},
             "eventVersion": "1.0", "eventID": "x", "eventName": "x", "eventSource": "x", "eventSourceARN": "x",
             "awsRegion": "x", "invokeIdentityArn": "x"}
    for user in deaggregator.iter_deaggregate_records([event]):
        kinesis = user["kinesis"]
        yield kinesis["partitionKey"], kinesis.get("explicitHashKey"), base64.b64decode(kinesis["data"])


def read(client, stream):
    """The user records as the KCL gives them: an aggregate with one that belongs to another shard is discarded whole.

    Also the number of aggregates that were discarded, and the user records by key in the order of each shard.
    """
    found, discarded, order = Counter(), 0, {}
    for shard in shards(client, stream):
        low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
        for record in raw(client, stream, shard):
            users = list(user_records(record))
            if record["Data"][:4] == MAGIC:
                hashes = [int(h) if h else int(hashlib.md5(key.encode()).hexdigest(), 16) for key, h, _ in users]
                if any(not low <= h <= high for h in hashes):
                    discarded += 1
                    continue
            for key, _, data in users:
                found[(key, data)] += 1
                order.setdefault((shard["ShardId"], key), []).append(data)
    return found, discarded, order


def configuration(files, outputs):
    """A file with these outputs: name and further keys."""
    path = files / "distributary.toml"
    lines = ['from = "input"', f'state = "{files}/state.db"', f'checkpoint-interval = "{INTERVAL}"', 'start = "trim-horizon"']
    for name, keys in outputs.items():
        lines += ["[[output]]", f'stream = "{name}"', *keys]
    path.write_text("\n".join(lines) + "\n")
    return path


def reshard(client, stream, rng):
    """Splits a shard of the stream in the middle, or merges two, as far as the stream allows."""
    listed = [s for s in shards(client, stream) if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    listed.sort(key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))
    if len(listed) > 1 and rng.random() < 0.5:
        i = rng.randrange(len(listed) - 1)
        client.merge_shards(StreamName=stream, ShardToMerge=listed[i]["ShardId"], AdjacentShardToMerge=listed[i + 1]["ShardId"])
    else:
        shard = rng.choice(listed)
        low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
        client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2))
    wait_for("ACTIVE", 30, lambda: client.describe_stream_summary(StreamName=stream)[
        "StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")


def test_every_user_record_arrives_where_a_kcl_keeps_it(files, start_local, measured):
    endpoint = start_local().endpoint
    client = kinesis(endpoint)
    rng = random.Random(7)
    create(client, "input", 1)
    outputs = {"out1": [], "out3": [], "out8": [], "apart": ["deaggregate = true"], "packed": ["aggregate = true"]}
    for name, count in zip(outputs, (1, 3, 8, 3, 3)):
        create(client, name, count)
    create(client, "naive", 3)
    records, users = made(1, AGGREGATES)
    config = configuration(files, outputs)
    part = len(records) // (KILLS + 1)

    for i in range(KILLS + 1):
        with Run(files, endpoint, "run", "--config", config) as run:
            put(client, "input", records[i * part:] if i == KILLS else records[i * part:(i + 1) * part])
            wait_for("some of it copied", 30, lambda: next(raw(client, "out8", shards(client, "out8")[0]), None))
            for name in outputs:
                reshard(client, name, rng)
            put(client, "input", made(100 + i, 20)[0])
            users += made(100 + i, 20)[1]
            run.kill()
    finished(files, endpoint, "run", "--config", config, "--until-caught-up")

    # A naive copier: the same records under their partition keys.
    everything = list(raw(client, "input", shards(client, "input")[0]))
    put(client, "naive", [(r["PartitionKey"], None, r["Data"]) for r in everything])
    expected = Counter(users)
    total = sum(expected.values())
    for name in outputs:
        found, discarded, _ = read(client, name)
        missing = expected - found
        repeats = sum((found - expected).values())
        assert not missing, f"{name}: {sum(missing.values())} of {total} user records are missing"
        assert set(found) == set(expected), f"{name}: user records that nobody put"
        measured(f"{name}: {total} user records, {repeats} repeats, {discarded} aggregates discarded by the reader")
    found, discarded, _ = read(client, "naive")
    lost = sum((expected - found).values())
    assert lost > 0
    measured(f"naive copy: {lost} of {total} user records lost, {discarded} aggregates discarded")


def test_a_quiet_copy_discards_and_repeats_nothing(files, start_local):
    endpoint = start_local().endpoint
    client = kinesis(endpoint)
    create(client, "input", 1)
    outputs = {"out1": [], "out3": [], "out8": [], "apart": ["deaggregate = true"], "packed": ["aggregate = true"]}
    for name, count in zip(outputs, (1, 3, 8, 8, 8)):
        create(client, name, count)
    records, users = made(3, 60)
    put(client, "input", records)
    finished(files, endpoint, "run", "--config", configuration(files, outputs), "--until-caught-up")

    by_key = {}
    for key, data in users:
        by_key.setdefault(key, []).append(data)
    for name in outputs:
        found, discarded, order = read(client, name)
        assert (found, discarded) == (Counter(users), 0), name
        for (_, key), data in order.items():
            at = iter(by_key[key])
            assert all(one in at for one in data), f"{name}: the user records of {key} are out of order"
    assert {r["Data"][:4] for s in shards(client, "apart") for r in raw(client, "apart", s)}.isdisjoint({MAGIC})
    assert any(r["Data"][:4] == MAGIC for s in shards(client, "packed") for r in raw(client, "packed", s))


def test_records_of_the_real_kpl_are_divided(files, start_local):
    """What KPL 1.1.1 wrote to two shards, copied to eight."""
    endpoint = start_local().endpoint
    client = kinesis(endpoint)
    create(client, "input", 1)
    create(client, "out8", 8)
    wrote = json.loads((Path(__file__).parent / "kpl" / "kpl-1.1.1-aggregated-records.json").read_text())
    put(client, "input", [(r["pk"], None, bytes.fromhex(r["data_hex"])) for r in wrote])
    finished(files, endpoint, "run", "--config", configuration(files, {"out8": []}), "--until-caught-up")

    found, discarded, _ = read(client, "out8")
    numbers = {data for _, data in found}
    assert discarded == 0 and max(found.values()) == 1
    assert numbers == {b"warm"} | {f"user-record-{i}".encode() for i in range(50)}


