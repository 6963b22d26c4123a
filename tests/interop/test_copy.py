"""`distributary run` and `verify` against servers that others wrote (and our own), checked by a comparison of its own as well."""

import pytest

from conftest import LONG
from distributary import create, fan_out, finished
from records import assert_same, cpu_seconds, every_kind, put_all, read_stream, uniform

SERVERS = ["local", "moto", "ministack", "kinesis-local"]
# The largest record that a server takes within a PutRecords, partition key included.
BIGGEST = {"local": 1 << 20, "moto": 1 << 20, "ministack": 1 << 20, "kinesis-local": 1 << 20}
# Megabytes that a server can be asked to hold six times (once as the source, five times as outputs) in a short run.
MEGABYTES = {"local": 100, "moto": 20, "ministack": 20, "kinesis-local": 4}
LONG_MEGABYTES = {"local": 1000, "moto": 100, "ministack": 100, "kinesis-local": 20}


def copy_and_verify(server, files, outputs, timeout=300):
    """run --until-caught-up, then the program's own verify; how long the copy took."""
    _, took = finished(files, server.endpoint, *fan_out("input", outputs, "--until-caught-up"), timeout=timeout)
    verify = ["verify", "--from", "input"]
    for output in outputs:
        verify += ["--to", output]
    finished(files, server.endpoint, *verify, timeout=timeout)
    return took


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(("source_shards", "output_shards"), [(2, 16), (16, 2), (3, 5)])
def test_records_of_every_kind_arrive_byte_for_byte_and_in_order(
        name, source_shards, output_shards, start_server, files, measured):
    server = start_server(name)
    client = server.client()
    create(client, "input", source_shards)
    for output in ("output1", "output2"):
        create(client, output, output_shards)
    records = every_kind(source_shards, 600, BIGGEST[name])
    if name == "moto":  # its last shard does not include the last hash key
        records = [r for r in records if r[1] != str(2**128 - 1)]
    put_all(client, "input", records)
    took = copy_and_verify(server, files, ["output1", "output2"])
    source = read_stream(client, "input")
    assert source.records == len(records), f"{name} itself lost some of the input"
    for output in ("output1", "output2"):
        assert_same(source, read_stream(client, output), output)
    measured(f"{source.records} records, {source.bytes / 1e6:.1f} MB to 2 outputs in {took:.1f} s")


@pytest.mark.parametrize("name", SERVERS)
def test_megabytes_are_copied_to_five_outputs_and_verified(name, start_server, files, measured):
    server = start_server(name)
    client = server.client()
    megabytes = (LONG_MEGABYTES if LONG else MEGABYTES)[name]
    outputs = [f"output{i}" for i in range(1, 6)]
    create(client, "input", 4)
    for output in outputs:
        create(client, output, 4)
    put_all(client, "input", uniform(1, megabytes))
    before = cpu_seconds(server.process.pid)
    took = copy_and_verify(server, files, outputs, timeout=900)
    served = cpu_seconds(server.process.pid) - before
    source = read_stream(client, "input")
    assert source.bytes == megabytes * 1_000_000, f"{name} itself lost some of the input"
    for output in outputs:
        assert_same(source, read_stream(client, output), output)
    measured(f"{megabytes} MB to 5 outputs in {took:.1f} s, {5 * megabytes / took:.0f} MB/s written; the server used {served:.1f} CPU-s "
             "for it and the verify")


@pytest.mark.parametrize("name", SERVERS)
def test_create_makes_the_outputs_with_the_shards_of_the_source(name, start_server, files, measured):
    server = start_server(name)
    client = server.client()
    create(client, "input", 3)
    put_all(client, "input", every_kind(5, 60, 10_000))
    finished(files, server.endpoint, *fan_out("input", ["made1", "made2"], "--create", "--until-caught-up"))
    source = read_stream(client, "input")
    for output in ("made1", "made2"):
        assert len(client.list_shards(StreamName=output)["Shards"]) == 3
        assert_same(source, read_stream(client, output), output)
    measured("2 outputs of 3 shards made and filled")


def test_verify_finds_what_a_copy_lacks_has_too_much_or_has_in_another_order(start_local, files, measured):
    local = start_local("source:2", "same:3", "lacks:2", "more:2", "order:2", "changed:2")
    client = local.client()
    records = [(f"key-{i % 5}", None, f"record {i}".encode()) for i in range(200)]
    wrong = {
        "same": records,
        "lacks": records[:100] + records[101:],
        "more": [*records, ("key-1", None, b"never in the source")],
        "order": [records[5], *records[:5], *records[6:]],
        "changed": [*records[:50], (records[50][0], None, b"RECORD 50"), *records[51:]],
    }
    put_all(client, "source", records)
    for output, content in wrong.items():
        put_all(client, output, content)
    for output in wrong:
        code = 0 if output == "same" else 1
        said, _ = finished(files, local.endpoint, "verify", "--from", "source", "--to", output, code=code)
        measured(f"{output}: exit code {code}: {said.strip().splitlines()[-1]}")
    finished(files, local.endpoint, "verify", "--from", "source", "--to", "not-there", code=3)
