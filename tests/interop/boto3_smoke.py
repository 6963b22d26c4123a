"""One check for every operation of Kinesis Data Streams, by boto3. `smoke.mjs` and `rust-smoke` make the same checks.

A check makes the streams it needs, so that one operation that fails takes no other with it. `OPERATIONS` is the one list of
names that all three SDKs and the table in the docs go by.
"""

import json
import os
import sys
import time
import uuid

MAX_HASH = str(2**128 - 1)
HALF_HASH = str(2**127)
BINARY = [b"\x00\xff\xfe binary", b"", "Ünïcode 鍵".encode()]
WAIT_SECONDS = 20

OPERATIONS = []


class Failed(Exception):
    """The server answered, but not as it should."""


def operation(check):
    OPERATIONS.append(("".join(p.capitalize() for p in check.__name__.split("_")), check))
    return check


def expect(condition, what):
    if not condition:
        raise Failed(what)


def wait_for(what, condition):
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise Failed(f"waited {WAIT_SECONDS} s for: {what}")


def summary(k, **by):
    return k.describe_stream_summary(**by)["StreamDescriptionSummary"]


def active(k, name):
    wait_for(f"{name} ACTIVE", lambda: summary(k, StreamName=name)["StreamStatus"] == "ACTIVE")


def stream(k, shards=1):
    """A new stream, ACTIVE; its name and ARN."""
    name = f"smoke-{uuid.uuid4().hex[:12]}"
    k.create_stream(StreamName=name, ShardCount=shards)
    active(k, name)
    return name, summary(k, StreamName=name)["StreamARN"]


def shards(k, name):
    return k.list_shards(StreamName=name)["Shards"]


def iterator(k, name, shard="shardId-000000000000", kind="TRIM_HORIZON", **more):
    return k.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def read(k, token, wanted, tries=40):
    """Reads on until `wanted` records came; the records and the last answer."""
    records, answer = [], None
    for _ in range(tries):
        answer = k.get_records(ShardIterator=token)
        records += answer["Records"]
        token = answer.get("NextShardIterator")
        if len(records) >= wanted or not token:
            break
        time.sleep(0.05)
    return records, answer


def drained(k, name, shard, tries=40):
    """The last answer of a closed shard: the one without an iterator."""
    token = iterator(k, name, shard)
    for _ in range(tries):
        answer = k.get_records(ShardIterator=token)
        token = answer.get("NextShardIterator")
        if not token:
            return answer
        time.sleep(0.05)
    raise Failed("a closed shard's iterator never ends")


def open_shards(k, name):
    return [s for s in shards(k, name) if not s["SequenceNumberRange"].get("EndingSequenceNumber")]


def refused(call, *kinds):
    """The error code of a call that must be refused."""
    try:
        call()
    except Exception as e:
        code = getattr(e, "response", {}).get("Error", {}).get("Code", type(e).__name__)
        expect(code in kinds, f"refused with {code}, not {' or '.join(kinds)}")
        return
    raise Failed(f"not refused ({' or '.join(kinds)})")


def consumer(k, arn):
    made = k.register_stream_consumer(StreamARN=arn, ConsumerName="smoke")["Consumer"]
    wait_for("consumer ACTIVE", lambda: k.describe_stream_consumer(ConsumerARN=made["ConsumerARN"])[
        "ConsumerDescription"]["ConsumerStatus"] == "ACTIVE")
    return made["ConsumerARN"]


@operation
def create_stream(k):
    name, arn = stream(k, 2)
    expect(arn.endswith(f":stream/{name}"), f"ARN {arn}")
    refused(lambda: k.create_stream(StreamName=name, ShardCount=2), "ResourceInUseException")
    on_demand = name + "-od"
    k.create_stream(StreamName=on_demand, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    active(k, on_demand)
    expect(summary(k, StreamName=on_demand)["StreamModeDetails"]["StreamMode"] == "ON_DEMAND", "not ON_DEMAND")


@operation
def delete_stream(k):
    name, arn = stream(k)
    k.delete_stream(StreamARN=arn)
    wait_for("gone", lambda: name not in k.list_streams(Limit=1000)["StreamNames"])
    refused(lambda: summary(k, StreamName=name), "ResourceNotFoundException")


@operation
def describe_stream(k):
    name, arn = stream(k, 2)
    for by in ({"StreamName": name}, {"StreamARN": arn}, {"StreamName": name, "StreamARN": arn}):
        d = k.describe_stream(**by)["StreamDescription"]
        ranges = [(s["HashKeyRange"]["StartingHashKey"], s["HashKeyRange"]["EndingHashKey"]) for s in d["Shards"]]
        expect(len(ranges) == 2 and ranges[0][0] == "0" and ranges[1][1] == MAX_HASH, f"hash ranges {ranges}")
        expect(int(ranges[0][1]) + 1 == int(ranges[1][0]), f"a hole between {ranges}")
    page = k.describe_stream(StreamName=name, Limit=1)["StreamDescription"]
    expect(page["HasMoreShards"] and len(page["Shards"]) == 1, "Limit=1 is not one shard with more to come")
    refused(lambda: k.describe_stream(StreamName="smoke-none"), "ResourceNotFoundException")


@operation
def describe_stream_summary(k):
    name, arn = stream(k, 2)
    for by in ({"StreamName": name}, {"StreamARN": arn}, {"StreamName": name, "StreamARN": arn}):
        s = summary(k, **by)
        expect((s["StreamName"], s["OpenShardCount"], s["RetentionPeriodHours"]) == (name, 2, 24), f"answers {s}")


@operation
def list_streams(k):
    names = sorted([stream(k)[0], stream(k)[0]])
    seen, start, token = [], {}, None
    for _ in range(2000):
        page = k.list_streams(Limit=1, **start)
        seen += page["StreamNames"]
        expect(len(page.get("StreamSummaries", [])) == len(page["StreamNames"]), "no summary for each name")
        if not page["HasMoreStreams"]:
            break
        token = page.get("NextToken")
        start = {"NextToken": token} if token else {"ExclusiveStartStreamName": seen[-1]}
    expect(set(names) <= set(seen) and seen == sorted(set(seen)), "paging misses, repeats or mixes names")


@operation
def list_shards(k):
    name, arn = stream(k, 3)
    first = k.list_shards(StreamARN=arn, MaxResults=2)
    expect(len(first["Shards"]) == 2 and first.get("NextToken"), "MaxResults=2 is not two shards and a token")
    rest = k.list_shards(NextToken=first["NextToken"])
    expect([s["ShardId"] for s in first["Shards"] + rest["Shards"]] == [f"shardId-{i:012d}" for i in range(3)], "paging")
    after = k.list_shards(StreamName=name, ShardFilter={"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"})
    expect([s["ShardId"][-1] for s in after["Shards"]] == ["2"], "AFTER_SHARD_ID")
    k.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey="1000")
    active(k, name)
    latest = [s["ShardId"][-1] for s in k.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]]
    expect(sorted(latest) == ["1", "2", "3", "4"], f"AT_LATEST shows {latest}")
    horizon = k.list_shards(StreamName=name, ShardFilter={"Type": "FROM_TRIM_HORIZON"})["Shards"]
    expect(len(horizon) == 5, f"FROM_TRIM_HORIZON shows {len(horizon)} of 5")


@operation
def put_record(k):
    name, arn = stream(k, 2)
    one = k.put_record(StreamName=name, PartitionKey="key", Data=BINARY[0])
    two = k.put_record(StreamARN=arn, PartitionKey="key", Data=BINARY[0])
    expect(one["ShardId"] == two["ShardId"] and int(one["SequenceNumber"]) < int(two["SequenceNumber"]), "not in sequence")
    expect(k.put_record(StreamName=name, PartitionKey="key", Data=b"x", ExplicitHashKey=MAX_HASH)["ShardId"][-1] == "1", "high")
    expect(k.put_record(StreamName=name, PartitionKey="key", Data=b"x", ExplicitHashKey="0")["ShardId"][-1] == "0", "low")
    refused(lambda: k.put_record(StreamName="smoke-none", PartitionKey="k", Data=b""), "ResourceNotFoundException")


@operation
def put_records(k):
    name, arn = stream(k)
    entries = [{"PartitionKey": "ключ-鍵-🔑", "Data": d} for d in BINARY]
    for by in ({"StreamName": name}, {"StreamARN": arn}):
        answer = k.put_records(Records=entries, **by)
        expect(answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 3, f"answers {answer['FailedRecordCount']}")
    records, _ = read(k, iterator(k, name), 6)
    expect([r["Data"] for r in records] == BINARY * 2, "the data came back different")
    expect({r["PartitionKey"] for r in records} == {"ключ-鍵-🔑"}, "the partition key came back different")
    big = [{"PartitionKey": "k", "Data": os.urandom(1_000_000)} for _ in range(9)]
    expect(k.put_records(StreamName=name, Records=big)["FailedRecordCount"] == 0, "9 MB in one request")
    refused(lambda: k.put_records(StreamName=name, Records=[{"PartitionKey": "k", "Data": b"x"}] * 501),
            "InvalidArgumentException", "ValidationException")


@operation
def get_shard_iterator(k):
    name, arn = stream(k)
    before = time.time()
    numbers = [k.put_record(StreamName=name, PartitionKey="k", Data=str(i).encode())["SequenceNumber"] for i in range(3)]
    cases = [("TRIM_HORIZON", {}, ["0", "1", "2"]), ("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[1]}, ["1", "2"]),
             ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[1]}, ["2"]),
             ("AT_TIMESTAMP", {"Timestamp": before - 10}, ["0", "1", "2"]), ("LATEST", {}, [])]
    for kind, more, wanted in cases:
        token = k.get_shard_iterator(StreamARN=arn, ShardId="shardId-000000000000", ShardIteratorType=kind, **more)
        records, _ = read(k, token["ShardIterator"], max(len(wanted), 1), tries=3)
        expect([r["Data"].decode() for r in records] == wanted, f"{kind} gives {[r['Data'] for r in records]}")
    refused(lambda: iterator(k, name, "shardId-000000000099"), "ResourceNotFoundException")


@operation
def get_records(k):
    name, arn = stream(k)
    k.put_records(StreamName=name, Records=[{"PartitionKey": "k", "Data": str(i).encode()} for i in range(10)])
    one = k.get_records(ShardIterator=iterator(k, name), Limit=4, StreamARN=arn)
    expect(len(one["Records"]) == 4 and one.get("NextShardIterator"), "Limit=4")
    records, last = read(k, one["NextShardIterator"], 6)
    expect([int(r["Data"]) for r in records] == list(range(4, 10)), "the next page doesn't go on")
    expect(last["MillisBehindLatest"] == 0, f"{last['MillisBehindLatest']} ms behind at the tip")
    stamp = records[0]["ApproximateArrivalTimestamp"].timestamp()
    expect(abs(stamp - time.time()) < 60, f"arrival time {stamp}")
    refused(lambda: k.get_records(ShardIterator="not-an-iterator"), "InvalidArgumentException", "ExpiredIteratorException")


@operation
def register_stream_consumer(k):
    _, arn = stream(k)
    made = k.register_stream_consumer(StreamARN=arn, ConsumerName="smoke")["Consumer"]
    expect(made["ConsumerARN"].startswith(f"{arn}/consumer/smoke:"), f"ARN {made['ConsumerARN']}")
    refused(lambda: k.register_stream_consumer(StreamARN=arn, ConsumerName="smoke"), "ResourceInUseException")


@operation
def describe_stream_consumer(k):
    _, arn = stream(k)
    by_arn = consumer(k, arn)
    for by in ({"ConsumerARN": by_arn}, {"StreamARN": arn, "ConsumerName": "smoke"}):
        d = k.describe_stream_consumer(**by)["ConsumerDescription"]
        expect((d["ConsumerARN"], d["StreamARN"]) == (by_arn, arn), f"answers {d}")


@operation
def list_stream_consumers(k):
    _, arn = stream(k)
    k.register_stream_consumer(StreamARN=arn, ConsumerName="one")
    k.register_stream_consumer(StreamARN=arn, ConsumerName="two")
    page = k.list_stream_consumers(StreamARN=arn, MaxResults=1)
    rest = k.list_stream_consumers(StreamARN=arn, NextToken=page["NextToken"]) if page.get("NextToken") else {"Consumers": []}
    names = [c["ConsumerName"] for c in page["Consumers"] + rest["Consumers"]]
    expect(len(page["Consumers"]) == 1 and sorted(names) == ["one", "two"], f"pages show {names}")


@operation
def deregister_stream_consumer(k):
    _, arn = stream(k)
    by_arn = consumer(k, arn)
    k.deregister_stream_consumer(ConsumerARN=by_arn)
    wait_for("gone", lambda: not k.list_stream_consumers(StreamARN=arn)["Consumers"])


@operation
def subscribe_to_shard(k):
    name, arn = stream(k)
    put = k.put_record(StreamName=name, PartitionKey="k", Data=BINARY[0])["SequenceNumber"]
    answer = k.subscribe_to_shard(ConsumerARN=consumer(k, arn), ShardId="shardId-000000000000",
                                  StartingPosition={"Type": "TRIM_HORIZON"})
    events = answer["EventStream"]
    later, seen = None, []
    for event in events:
        event = event["SubscribeToShardEvent"]
        seen += [r["Data"] for r in event["Records"]]
        expect("MillisBehindLatest" in event and event["ContinuationSequenceNumber"], f"event {sorted(event)}")
        if seen and later is None:  # what is put while subscribed is pushed
            later = k.put_record(StreamName=name, PartitionKey="k", Data=BINARY[2])["SequenceNumber"]
        if len(seen) == 2:
            break
    events.close()
    expect(seen == [BINARY[0], BINARY[2]] and int(put) < int(later), f"pushed {seen}")


@operation
def split_shard(k):
    name, _ = stream(k)
    k.put_record(StreamName=name, PartitionKey="k", Data=b"before")
    k.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=HALF_HASH)
    active(k, name)
    children = open_shards(k, name)
    expect([c.get("ParentShardId") for c in children] == ["shardId-000000000000"] * 2, "no two children with that parent")
    last = drained(k, name, "shardId-000000000000")
    named = sorted(c["ShardId"] for c in last.get("ChildShards", []))
    expect(named == sorted(c["ShardId"] for c in children), f"GetRecords names the children {named}")


@operation
def merge_shards(k):
    name, _ = stream(k, 2)
    k.merge_shards(StreamName=name, ShardToMerge="shardId-000000000000", AdjacentShardToMerge="shardId-000000000001")
    active(k, name)
    (child,) = open_shards(k, name)
    parents = {child.get("ParentShardId"), child.get("AdjacentParentShardId")}
    expect(parents == {"shardId-000000000000", "shardId-000000000001"}, f"parents {parents}")
    expect((child["HashKeyRange"]["StartingHashKey"], child["HashKeyRange"]["EndingHashKey"]) == ("0", MAX_HASH), "its range")


@operation
def update_shard_count(k):
    name, _ = stream(k)
    k.put_record(StreamName=name, PartitionKey="k", Data=b"before")
    answer = k.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    expect((answer["CurrentShardCount"], answer["TargetShardCount"]) == (1, 2), f"answers {answer}")
    active(k, name)
    expect(len(open_shards(k, name)) == 2, "not two open shards")
    expect(len(read(k, iterator(k, name), 1)[0]) == 1, "what the closed shard held is gone")


@operation
def update_stream_mode(k):
    name, arn = stream(k)
    k.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    active(k, name)
    expect(summary(k, StreamName=name)["StreamModeDetails"]["StreamMode"] == "ON_DEMAND", "still PROVISIONED")


@operation
def increase_stream_retention_period(k):
    name, arn = stream(k)
    k.increase_stream_retention_period(StreamARN=arn, RetentionPeriodHours=48)
    active(k, name)
    expect(summary(k, StreamName=name)["RetentionPeriodHours"] == 48, "not 48 hours")


@operation
def decrease_stream_retention_period(k):
    name, _ = stream(k)
    k.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
    active(k, name)
    k.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=24)
    active(k, name)
    expect(summary(k, StreamName=name)["RetentionPeriodHours"] == 24, "not 24 hours")
    refused(lambda: k.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=23), "InvalidArgumentException",
            "ValidationException")


@operation
def update_max_record_size(k):
    name, arn = stream(k)
    big = os.urandom(1_500_000)
    refused(lambda: k.put_record(StreamName=name, PartitionKey="k", Data=big), "InvalidArgumentException", "ValidationException")
    k.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    active(k, name)
    expect(summary(k, StreamName=name).get("MaxRecordSizeInKiB") == 2048, "not shown")
    k.put_record(StreamName=name, PartitionKey="k", Data=big)
    expect(read(k, iterator(k, name), 1)[0][0]["Data"] == big, "the record came back different")


@operation
def add_tags_to_stream(k):
    name, _ = stream(k)
    k.add_tags_to_stream(StreamName=name, Tags={"team": "a", "env": "test"})
    expect(len(k.list_tags_for_stream(StreamName=name)["Tags"]) == 2, "not two tags")


@operation
def list_tags_for_stream(k):
    name, arn = stream(k)
    k.add_tags_to_stream(StreamARN=arn, Tags={"a": "1", "b": "2", "c": "3"})
    page = k.list_tags_for_stream(StreamName=name, Limit=2)
    expect([t["Key"] for t in page["Tags"]] == ["a", "b"] and page["HasMoreTags"], "Limit=2")
    rest = k.list_tags_for_stream(StreamName=name, ExclusiveStartTagKey="b")
    expect(rest["Tags"] == [{"Key": "c", "Value": "3"}] and not rest["HasMoreTags"], "the second page")


@operation
def remove_tags_from_stream(k):
    name, _ = stream(k)
    k.add_tags_to_stream(StreamName=name, Tags={"team": "a", "env": "test"})
    k.remove_tags_from_stream(StreamName=name, TagKeys=["env"])
    expect(k.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "team", "Value": "a"}], "still there")


@operation
def tag_resource(k):
    _, arn = stream(k)
    k.tag_resource(ResourceARN=arn, Tags={"team": "a"})
    expect(k.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "a"}], "not shown")


@operation
def list_tags_for_resource(k):
    name, arn = stream(k)
    k.add_tags_to_stream(StreamName=name, Tags={"team": "b"})
    expect(k.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "b"}], "not shown")


@operation
def untag_resource(k):
    _, arn = stream(k)
    k.tag_resource(ResourceARN=arn, Tags={"team": "a", "env": "test"})
    k.untag_resource(ResourceARN=arn, TagKeys=["team"])
    expect(k.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "env", "Value": "test"}], "still there")


@operation
def start_stream_encryption(k):
    name, _ = stream(k)
    k.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    active(k, name)
    s = summary(k, StreamName=name)
    expect((s.get("EncryptionType"), s.get("KeyId")) == ("KMS", "alias/aws/kinesis"), f"shown as {s.get('EncryptionType')}")


@operation
def stop_stream_encryption(k):
    name, _ = stream(k)
    k.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    active(k, name)
    k.stop_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    active(k, name)
    expect(summary(k, StreamName=name).get("EncryptionType") == "NONE", "still encrypted")


def policy(arn):
    return json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kinesis:GetRecords", "Resource": arn}]})


@operation
def put_resource_policy(k):
    _, arn = stream(k)
    k.put_resource_policy(ResourceARN=arn, Policy=policy(arn))
    expect(json.loads(k.get_resource_policy(ResourceARN=arn)["Policy"]) == json.loads(policy(arn)), "not kept")


@operation
def get_resource_policy(k):
    _, arn = stream(k)
    k.put_resource_policy(ResourceARN=arn, Policy=policy(arn))
    expect(json.loads(k.get_resource_policy(ResourceARN=arn)["Policy"])["Version"] == "2012-10-17", "not shown")


@operation
def delete_resource_policy(k):
    _, arn = stream(k)
    k.put_resource_policy(ResourceARN=arn, Policy=policy(arn))
    k.delete_resource_policy(ResourceARN=arn)
    try:
        left = k.get_resource_policy(ResourceARN=arn)["Policy"]
    except Exception as e:
        left = e.response["Error"]["Code"] if hasattr(e, "response") else str(e)
        expect(left == "ResourceNotFoundException", left)
        return
    expect("Statement" not in left, "still there")


@operation
def enable_enhanced_monitoring(k):
    name, _ = stream(k)
    answer = k.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])
    expect(sorted(answer["DesiredShardLevelMetrics"]) == ["IncomingBytes", "OutgoingBytes"], f"answers {answer}")
    active(k, name)
    shown = summary(k, StreamName=name)["EnhancedMonitoring"][0]["ShardLevelMetrics"]
    expect(sorted(shown) == ["IncomingBytes", "OutgoingBytes"], f"shows {shown}")


@operation
def disable_enhanced_monitoring(k):
    name, arn = stream(k)
    k.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])
    active(k, name)
    answer = k.disable_enhanced_monitoring(StreamARN=arn, ShardLevelMetrics=["IncomingBytes"])
    expect(sorted(answer["CurrentShardLevelMetrics"]) == ["IncomingBytes", "OutgoingBytes"], "what it was")
    active(k, name)
    shown = summary(k, StreamName=name)["EnhancedMonitoring"][0]["ShardLevelMetrics"]
    expect(shown == ["OutgoingBytes"], f"shows {shown}")


@operation
def describe_limits(k):
    stream(k)
    limits = k.describe_limits()
    expect(limits["ShardLimit"] > 0 and limits["OpenShardCount"] > 0, f"counts {limits['OpenShardCount']} open shards")


@operation
def describe_account_settings(k):
    answer = k.describe_account_settings()
    expect(answer.get("MinimumThroughputBillingCommitment"), "says nothing")


def reason(error):
    """One short line that says why an operation does not pass."""
    if isinstance(error, Failed):
        return str(error)
    response = getattr(error, "response", None)
    if response:
        code, message = response["Error"].get("Code", "?"), response["Error"].get("Message", "")
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{status} {code}" + (f": {message}" if message and len(message) < 90 else "")
    return f"{type(error).__name__}: {str(error).splitlines()[0][:90]}" if str(error) else type(error).__name__


def run(k, only=None):
    """Every check in turn: `{operation: None | why not}`."""
    results = {}
    for name, check in OPERATIONS:
        if only and name != only:
            continue
        try:
            check(k)
            results[name] = None
        except Exception as e:
            results[name] = reason(e)
    return results


if __name__ == "__main__":  # python boto3_smoke.py http://127.0.0.1:4567 [Operation]
    from servers import kinesis
    out = run(kinesis(sys.argv[1], read_timeout=10), *sys.argv[2:3])
    for op, why in out.items():
        print(f"{'ok ' if why is None else 'NO '} {op}" + (f"  {why}" if why else ""))
    print(sum(w is None for w in out.values()), "of", len(out))
