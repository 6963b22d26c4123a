"""Workers of one name share a stream by leases in moto's DynamoDB: balance, kill -9, SIGSTOP for longer than the failover time,
and a graceful stop. The stream is `distributary local`."""

import json
import signal
import time

import boto3
import pytest

from distributary import Local, Run, create, fan_out, finished, wait_for
from records import read_stream
from servers import CREDENTIALS, REGION, Moto, kinesis
from test_crash import Producer

SHARDS = 8
OUTPUTS = ["output1", "output2"]
FAILOVER = 6  # seconds
TABLE = "orders"


@pytest.fixture(scope="module")
def dynamo_endpoint(tmp_path_factory):
    with Moto(tmp_path_factory.mktemp("moto")) as moto:
        yield moto.endpoint


def rows(endpoint):
    client = boto3.client("dynamodb", endpoint_url=endpoint, region_name=REGION,
                          aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                          aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    try:
        return client.scan(TableName=TABLE)["Items"]
    except client.exceptions.ResourceNotFoundException:
        return []


def loads(endpoint):
    """Leases of each owner."""
    owners = [row["leaseOwner"]["S"] if "leaseOwner" in row else None for row in rows(endpoint)]
    return {owner: owners.count(owner) for owner in owners}


def balanced(endpoint, workers):
    def check():
        found = loads(endpoint)
        return (len(found) == workers and None not in found and sum(found.values()) == SHARDS
                and max(found.values()) - min(found.values()) <= 1)
    return check


def distinct(client, stream):
    """Different records in the stream."""
    return len({digest for digests in read_stream(client, stream).by_key.values() for digest in digests})


def leases(folder, endpoint, *args, code=0):
    text, _ = finished(folder, endpoint, "leases", *args[:1], "--table", TABLE, *args[1:], code=code,
                       AWS_ENDPOINT_URL_DYNAMODB=endpoint)
    return text


def mended(folder, endpoint):
    """The commands of `leases`, while one worker holds every lease."""
    listed = json.loads(leases(folder, endpoint, "list", "--json"))
    assert {row["leaseKey"]: row["leaseOwner"] for row in listed} == {
        row["leaseKey"]["S"]: row["leaseOwner"]["S"] for row in rows(endpoint)}
    assert all(row["distributaryLanes"] == len(OUTPUTS) for row in listed)
    shard, owner = listed[0]["leaseKey"], listed[0]["leaseOwner"]
    assert f"{owner}: leases {SHARDS}" in leases(folder, endpoint, "list")
    for change in ("release", "reset"):
        assert "is in use" in leases(folder, endpoint, change, "--failover-time", f"{FAILOVER}s", shard, code=1)
    assert "owned by nobody" in leases(folder, endpoint, "release", "--to", "nobody", shard, code=2)
    assert "no lease of shardId-9" in leases(folder, endpoint, "reset", "shardId-9", code=2)


def test_workers_share_a_stream(tmp_path, dynamo_endpoint):
    with Local(tmp_path) as local:
        client = kinesis(local.endpoint)
        create(client, "input", SHARDS)
        for output in OUTPUTS:
            create(client, output, 2)
        producer = Producer(client, rate=200)
        producer.start()

        def worker():
            args = fan_out("input", OUTPUTS, "--name", TABLE, "--leases", "dynamodb", "--failover-time", f"{FAILOVER}s",
                           "--control", "none")
            return Run(tmp_path, local.endpoint, *args, AWS_ENDPOINT_URL_DYNAMODB=dynamo_endpoint)

        limit = 3 * FAILOVER + 5
        first, second = worker(), worker()
        wait_for("two workers in balance", limit, balanced(dynamo_endpoint, 2))
        third = worker()
        wait_for("three workers in balance", limit, balanced(dynamo_endpoint, 3))

        killed = time.monotonic()
        before = set(loads(dynamo_endpoint))
        first.kill()
        wait_for("the dead worker's leases have owners", FAILOVER + 10, lambda: len(loads(dynamo_endpoint)) == 2)
        print(f"takeover after kill -9: {time.monotonic() - killed:.1f} s with a failover time of {FAILOVER} s")
        assert set(loads(dynamo_endpoint)) < before

        # A worker that sleeps for longer than the failover time has lost its leases when it wakes up.
        second.process.send_signal(signal.SIGSTOP)
        wait_for("one worker alone", FAILOVER + 10, lambda: len(loads(dynamo_endpoint)) == 1)
        second.process.send_signal(signal.SIGCONT)
        wait_for("balance after waking up", limit, balanced(dynamo_endpoint, 2))

        assert second.stop() == 0, second.tail()
        wait_for("the leases of a stopped worker have an owner", 8, balanced(dynamo_endpoint, 1))

        producer.over.set()
        producer.join()
        assert producer.failed is None
        # The last records arrive, and their checkpoints are written when the last worker stops.
        wait_for("every record in every output", 30, lambda: all(
            distinct(client, output) == producer.count for output in OUTPUTS))
        mended(tmp_path, dynamo_endpoint)
        assert third.stop() == 0, third.tail()

        # Rows of the KCL's schema.
        for row in rows(dynamo_endpoint):
            assert row["leaseKey"]["S"].startswith("shardId-")
            assert int(row["leaseCounter"]["N"]) > 0
            assert row["checkpoint"]["S"].isdigit()
            assert "startingHashKey" in row and "endingHashKey" in row
            assert "leaseOwner" not in row
            assert sum(len(name) + len(str(value)) for name, value in row.items()) < 1024
        text, _ = finished(tmp_path, local.endpoint, "verify", "--from", "input", "--to", *OUTPUTS, "--allow-repeats")
        assert "All 2 copies are the same as the source" in text, text

        # No worker is left: leases of dead ones may be freed, and deleted.
        assert "freed leases: 0" in leases(tmp_path, dynamo_endpoint, "release", "--all")
        assert "deleted leases: 1" in leases(tmp_path, dynamo_endpoint, "reset", "shardId-000000000003")
        assert len(rows(dynamo_endpoint)) == SHARDS - 1
