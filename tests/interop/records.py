"""Made-up records of every kind, put with boto3; and a comparison of streams that is not the program's own `verify`."""

import hashlib
import os
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

MAX_BYTES = 4_500_000  # of one PutRecords: several servers stop at 5 MiB
MAX_RECORDS = 500
RECORD_LIMIT = 1 << 20  # data and partition key together, as the strictest of the servers counts


def binary(rng, n):
    return rng.randbytes(n)


def every_kind(seed, count, biggest=RECORD_LIMIT):
    """Records of all kinds in a fixed order: `(partition key, explicit hash key or None, data)`."""
    rng = random.Random(seed)
    keys = ["key", "ключ", "鍵" * 85, "🔑🗝", "a b\tc", "\"quoted\\", "k" * 256, *[f"user-{i}" for i in range(40)]]
    made = [("empty", None, b""), ("a", None, bytes(range(256))), ("not utf-8", None, b"\xff\xfe\x00\x80")]
    for size in (biggest - 40, biggest - 39):
        made.append((f"big {size}", None, binary(rng, size - 10)))
    exact = "exactly the largest"
    made.append((exact, None, binary(rng, biggest - len(exact))))
    for i in range(24):
        # A key of its own for each hash key, or records of one key would lie in two shards, where no order holds.
        made.append((f"by hash {i}", str(rng.randrange(2**128 - 1)), f"{i}".encode()))
    made.append(("lowest", "0", b"first shard"))
    while len(made) < count:
        size = rng.choice((0, 1, 10, 100, 1_000, 10_000))
        made.append((rng.choice(keys), None, binary(rng, size)))
    return made[:max(count, 30)]


def uniform(seed, megabytes, size=10_000):
    """That many megabytes of incompressible records of one size."""
    rng = random.Random(seed)
    return [(f"key-{rng.randrange(500)}", None, binary(rng, size)) for _ in range(megabytes * 1_000_000 // size)]


def put_all(client, stream, records):
    """Puts the records in order, a request at a time; what a request refused goes again, alone and in order."""
    request, size = [], 0
    for key, hash_key, data in records:
        entry = {"PartitionKey": key, "Data": data}
        if hash_key is not None:
            entry["ExplicitHashKey"] = hash_key
        length = len(data) + len(key.encode())
        if request and (size + length > MAX_BYTES or len(request) == MAX_RECORDS):
            _put(client, stream, request)
            request, size = [], 0
        request.append(entry)
        size += length
    if request:
        _put(client, stream, request)


def _put(client, stream, entries):
    for _ in range(10):
        answer = client.put_records(StreamName=stream, Records=entries)
        entries = [e for e, r in zip(entries, answer["Records"]) if r.get("ErrorCode")]
        if not entries:
            return
    raise AssertionError(f"{len(entries)} records were not taken in ten tries")


@dataclass
class Content:
    """What a stream holds: per partition key the fingerprints of its data in the order read, parents before children; and when
    each of them arrived, in seconds since 1970, in the same order."""

    by_key: dict
    records: int
    bytes: int
    arrived: dict = field(default_factory=dict)


def read_stream(client, stream):
    """Every record of every shard, each shard to where it had no more (or was closed and at its end)."""
    shards = client.list_shards(StreamName=stream)["Shards"]
    by_key, arrived, records, size = defaultdict(list), defaultdict(list), 0, 0
    for shard in sorted(shards, key=lambda s: s["ShardId"]):  # a child's id is above its parents'
        token = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"],
                                          ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while token:
            answer = client.get_records(ShardIterator=token, Limit=10_000)
            for record in answer["Records"]:
                by_key[record["PartitionKey"]].append(hashlib.sha256(record["Data"]).digest()[:16])
                arrived[record["PartitionKey"]].append(record["ApproximateArrivalTimestamp"].timestamp())
                records += 1
                size += len(record["Data"])
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
            token = answer.get("NextShardIterator")
    return Content(dict(by_key), records, size, dict(arrived))


@dataclass
class Difference:
    missing: int
    extra: int
    repeats: int
    out_of_order: list

    def __str__(self):
        return (f"{self.missing} missing, {self.extra} extra, {self.repeats} repeats, "
                f"{len(self.out_of_order)} keys out of order{self.out_of_order[:3] or ''}")


def compare(source, output):
    """`output` against `source`: a record that comes again is a repeat; one that never was in the source is extra; the last
    occurrence of each record of a key must stand in the source's order (what the mode `resend` promises)."""
    missing = extra = repeats = 0
    out_of_order = []
    for key in source.by_key.keys() | output.by_key.keys():
        want, got = source.by_key.get(key, []), output.by_key.get(key, [])
        wanted, there = Counter(want), Counter(got)
        lacks = sum((wanted - there).values())
        missing += lacks
        for print_, n in (there - wanted).items():
            if print_ in wanted:
                repeats += n
            else:
                extra += n
        if not lacks and _last_of_each(got, wanted) != want:
            out_of_order.append(key)
    return Difference(missing, extra, repeats, out_of_order)


def _last_of_each(got, wanted):
    """The last occurrences of each record, as many as the source has, in the order they stand."""
    left, kept = Counter(wanted), []
    for fingerprint in reversed(got):
        if left[fingerprint] > 0:
            left[fingerprint] -= 1
            kept.append(fingerprint)
    kept.reverse()
    return kept


def assert_same(source, output, name, allow_repeats=False):
    difference = compare(source, output)
    same = not (difference.missing or difference.extra or difference.out_of_order)
    assert same and (allow_repeats or not difference.repeats), f"{name}: {difference}"
    return difference


def cpu_seconds(pid):
    """User and system time a process has used so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
