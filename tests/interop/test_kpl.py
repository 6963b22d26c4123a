"""KPL aggregates made by aws-kinesis-agg (PyPI and npm) and by the KPL itself, copied under reshards and kill -9, and read as the
KCL reads, at last by the KCL itself."""

import base64
import hashlib
import json
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from aws_kinesis_agg import aggregator, deaggregator, messages_pb2

from conftest import LONG
from distributary import Run, create, finished, wait_for
from java import CONSUME_SECONDS, Consumer, produce
from servers import DEPS, HERE, clean_env, kinesis

MAGIC = b"\xf3\x89\x9a\xc2"
AGGREGATES = 300
KILLS = 4
# Of one checkpoint interval, of the requests in flight at a kill, and of the aggregates that a reshard misplaced.
INTERVAL = "200ms"
USERS_OF_KPL = 3_000


def by_pypi(groups):
    """An aggregate of each group of user records: `(key, hash key, data)`."""
    made = []
    for users in groups:
        packer = aggregator.RecordAggregator()
        for key, hash_key, data in users:
            assert packer.add_user_record(key, data, hash_key) is None
        made.append(packer.clear_and_get().get_contents())
    return made


def by_npm(groups):
    """The same by the package of npm."""
    text = [[(key, hash_key, base64.b64encode(data).decode()) for key, hash_key, data in users] for users in groups]
    return [(key, hash_key, base64.b64decode(data)) for key, hash_key, data in npm("make", text)]


def npm(work, value):
    done = subprocess.run(["node", "--no-warnings", HERE / "aggregates.mjs", work], input=json.dumps(value), text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(INTEROP_NODE=DEPS / "node"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def made(seed, count, aggregated=by_pypi):
    """Aggregates of user records over all hash keys, and plain records between: `(key, hash key, data)`, and the user records."""
    rng = random.Random(seed)
    groups = [[(f"user-{rng.randrange(80)}", str(rng.randrange(2**128)) if rng.random() < 0.1 else None,
                f"{n}.{i}:".encode() + rng.randbytes(rng.choice((0, 10, 200))))
               for i in range(rng.choice((1, 2, 5, 31, 60)))]
              for n in range(count)]
    records, users = [], []
    for n, (group, aggregate) in enumerate(zip(groups, aggregated(groups))):
        users += group
        records.append(aggregate)
        if n % 3 == 0:
            users.append((f"plain-{n}", None, b"plain"))
            records.append((f"plain-{n}", None, b"plain"))
    return records, users


def without_hash_keys(users):
    return [(key, data) for key, _, data in users]


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
    """The user records of a record, by the messages of aws-kinesis-agg: `(key, explicit hash key or None, data)`.

    Not by the deaggregator of that package: to user records without a hash key it gives the first one of the aggregate.
    """
    if record["Data"][:4] != MAGIC:
        return [(record["PartitionKey"], None, record["Data"])]
    message, digest = record["Data"][4:-16], record["Data"][-16:]
    assert hashlib.md5(message).digest() == digest
    aggregate = messages_pb2.AggregatedRecord.FromString(message)
    keys, hash_keys = aggregate.partition_key_table, aggregate.explicit_hash_key_table
    return [(keys[user.partition_key_index],
             hash_keys[user.explicit_hash_key_index] if user.HasField("explicit_hash_key_index") else None,
             user.data)
            for user in aggregate.records]


def read_by_pypi(record):
    """Partition keys and data of the user records, by the deaggregator of aws-kinesis-agg."""
    return [(user["kinesis"]["partitionKey"], base64.b64decode(user["kinesis"]["data"]))
            for user in deaggregator.iter_deaggregate_records([record], data_format="Boto3")]


def read_by_npm(records):
    """The same of several records by the package of npm."""
    return [[(key, base64.b64decode(data)) for key, data in users]
            for users in npm("read", [base64.b64encode(r["Data"]).decode() for r in records])]


def read(client, stream):
    """The user records as the KCL gives them: an aggregate with one that belongs to another shard is discarded whole.

    Also the number of aggregates that were discarded, and the user records by key in the order of each shard.
    """
    found, discarded, order = Counter(), 0, {}
    for shard in shards(client, stream):
        low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
        for record in raw(client, stream, shard):
            users = user_records(record)
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
            more, of_more = made(100 + i, 20)
            put(client, "input", more)
            users += of_more
            run.kill()
    finished(files, endpoint, "run", "--config", config, "--until-caught-up")

    # A naive copier: the same records under their partition keys.
    everything = list(raw(client, "input", shards(client, "input")[0]))
    put(client, "naive", [(r["PartitionKey"], None, r["Data"]) for r in everything])
    expected = Counter(without_hash_keys(users))
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


@pytest.mark.parametrize("aggregated", (by_pypi, by_npm))
def test_a_quiet_copy_discards_and_repeats_nothing(files, start_local, aggregated):
    endpoint = start_local().endpoint
    client = kinesis(endpoint)
    create(client, "input", 1)
    outputs = {"out1": [], "out3": [], "out8": [], "apart": ["deaggregate = true"], "packed": ["aggregate = true"]}
    for name, count in zip(outputs, (1, 3, 8, 8, 8)):
        create(client, name, count)
    records, users = made(3, 60, aggregated)
    put(client, "input", records)
    finished(files, endpoint, "run", "--config", configuration(files, outputs), "--until-caught-up")

    by_key = {}
    for key, data in without_hash_keys(users):
        by_key.setdefault(key, []).append(data)
    for name in outputs:
        found, discarded, order = read(client, name)
        assert (found, discarded) == (Counter(without_hash_keys(users)), 0), name
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


def test_both_libraries_read_what_distributary_wrote(files, start_local):
    """Pieces of aggregates (out8) and aggregates of its own (packed), with every explicit hash key."""
    endpoint = start_local().endpoint
    client = kinesis(endpoint)
    create(client, "input", 1)
    outputs = {"out8": [], "packed": ["aggregate = true"]}
    for name in outputs:
        create(client, name, 8)
    records, users = made(5, 60)
    put(client, "input", records)
    finished(files, endpoint, "run", "--config", configuration(files, outputs), "--until-caught-up")

    for name in outputs:
        wrote = [r for s in shards(client, name) for r in raw(client, name, s) if r["Data"][:4] == MAGIC]
        assert len(wrote) >= 8, name
        of_each = [user_records(r) for r in wrote]
        pairs = [without_hash_keys(found) for found in of_each]
        assert [read_by_pypi(r) for r in wrote] == pairs, name
        assert read_by_npm(wrote) == pairs, name
        assert Counter(user for found in of_each for user in found if user[1]) == Counter(user for user in users if user[1]), name


def test_kcl_applications_read_each_user_record_of_the_kpl_once_from_the_copies(files, start_local, dynamo, measured):
    """The KPL writes by TLS, without a check of the certificate, while the copy runs. KCL applications read what was copied; in
    the long variant another one reads a naive copy, which shows that the KCL discards."""
    authority = files / "authority.pem"
    source, local = start_local(options=["--tls", "--tls-cert-out", authority]).endpoint, start_local().endpoint
    client = kinesis(local)
    create(kinesis(source), "input", 4)
    outputs = {"out8": [], "apart": ["deaggregate = true"], "packed": ["aggregate = true"]}
    for name in (*outputs, "naive"):
        create(client, name, 8)
    config = configuration(files, {name: [*keys, f'endpoint-url = "{local}"'] for name, keys in outputs.items()})

    with Run(files, source, "run", "--config", config, AWS_CA_BUNDLE=authority) as run:
        users = produce(files, source, "input", USERS_OF_KPL)
        assert run.stop() == 0, run.tail()
    finished(files, source, "run", "--config", config, "--until-caught-up", AWS_CA_BUNDLE=authority)
    wrote = [r for s in shards(kinesis(source), "input") for r in raw(kinesis(source), "input", s)]
    assert sum(r["Data"][:4] == MAGIC for r in wrote) >= 4
    put(client, "naive", [(r["PartitionKey"], None, r["Data"]) for r in wrote])

    expected = {name: Counter(without_hash_keys(users)) for name in outputs}
    for name in outputs:
        assert read(client, name)[:2] == (expected[name], 0), name
    expected["naive"], discarded, _ = read(client, "naive")
    lost = len(users) - sum(expected["naive"].values())
    assert lost > 0 and discarded > 0
    read_by_kcl = expected if LONG else ("out8",)
    apps = {name: Consumer(files, local, dynamo.endpoint, name, "polling", 0) for name in read_by_kcl}
    try:
        for name, app in apps.items():
            count = sum(expected[name].values())
            wait_for(f"{count} user records of {name}", CONSUME_SECONDS, lambda a=app, n=count: a.alive() or len(a.records) >= n)
            assert Counter((key, data) for _, _, key, data in app.records) == expected[name], name
            measured(f"{name}: {len(app.records)} of {len(users)} user records reached the KCL, none twice")
    finally:
        codes = {name: app.stop() for name, app in apps.items()}
    assert codes == dict.fromkeys(apps, 0), [app.log() for app in apps.values()]
    measured(f"naive copy: {lost} of {len(users)} user records lost")
