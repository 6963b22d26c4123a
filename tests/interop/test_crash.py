"""kill -9 in the middle: nothing missing, repeats bounded by the checkpoint interval, quick to be back."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from conftest import LONG
from distributary import Run, create, fan_out, finished, wait_for
from records import assert_same, read_stream

OUTPUTS = ["output1", "output2", "output3"]
RATE = 400  # records a second
INTERVAL = 1.0  # seconds between two checkpoints
# A checkpoint is begun an interval after the last one was done, and holds what was acknowledged by then.
MARGIN = 1.0
# What a process had sent when it was killed may be written this much later.
LATE = 1.0


@dataclass
class Case:
    """What a server bears: moto answers one request at a time, and looks at every record of a shard for each read of it."""

    rounds: int
    long_rounds: int
    rate: int  # of records a second that are put, at most
    back_seconds: float  # until the first record is in every output after a start


SERVERS = {"local": Case(10, 100, RATE, 2), "moto": Case(4, 20, 100, 5)}


class Producer(threading.Thread):
    """Puts numbered records at a steady rate until it is told to stop."""

    def __init__(self, client, rate=RATE):
        super().__init__(daemon=True)
        self.client, self.rate, self.count, self.failed = client, rate, 0, None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.wait(0.05):
                entries = [{"PartitionKey": f"key-{(self.count + i) % 17}", "Data": f"record {self.count + i}".encode()}
                           for i in range(self.rate // 20)]
                answer = self.client.put_records(StreamName="input", Records=entries)
                assert answer["FailedRecordCount"] == 0
                self.count += len(entries)
        except Exception as e:
            self.failed = e


class Tips:
    """Reads what is new in an output from now on."""

    def __init__(self, client, stream):
        self.client = client
        self.iterators = [client.get_shard_iterator(StreamName=stream, ShardId=s["ShardId"], ShardIteratorType="LATEST")[
            "ShardIterator"] for s in client.list_shards(StreamName=stream)["Shards"]]

    def anything(self):
        for i, iterator in enumerate(self.iterators):
            answer = self.client.get_records(ShardIterator=iterator, Limit=1)
            self.iterators[i] = answer["NextShardIterator"]
            if answer["Records"]:
                return True
        return False


class Repeats:
    """What was written to an output more than once, by the kill between the two times."""

    def __init__(self, output, kills):
        self.at = Counter()
        self.oldest = 0.0  # seconds from when it was written until the kill
        for key, prints in output.by_key.items():
            before = {}
            for fingerprint, arrived in zip(prints, output.arrived[key]):
                if fingerprint in before:
                    self._note(before[fingerprint], arrived, kills)
                before[fingerprint] = arrived

    def _note(self, first, again, kills):
        kill = next((k for k in kills if k >= first - LATE), None)
        assert kill is not None and kill <= again, f"written at {first} and at {again}, and not killed in between: {kills}"
        self.at[kill] += 1
        self.oldest = max(self.oldest, kill - first)


@pytest.mark.parametrize("name", SERVERS)
def test_nothing_is_missing_after_kill_9_again_and_again_and_the_first_record_is_back_soon(
        name, start_server, files, measured):
    case = SERVERS[name]
    rounds = case.long_rounds if LONG else case.rounds
    server = start_server(name)
    client = server.client()
    for stream, shards in [("input", 3), *((o, 2) for o in OUTPUTS)]:
        create(client, stream, shards)
    rng = random.Random(rounds)
    producer = Producer(server.client(), case.rate)
    producer.start()
    args = fan_out("input", OUTPUTS, "--state", files / "state.db", "--checkpoint-interval", f"{INTERVAL}s")
    back, kills, began = [], [], time.monotonic()
    try:
        for _ in range(rounds):
            tips = {o: Tips(client, o) for o in OUTPUTS}
            with Run(files, server.endpoint, *args) as run:
                for output in OUTPUTS:
                    wait_for(f"a record in {output}; {run.tail()}", 10, tips[output].anything)
                back.append(time.monotonic() - run.started)
                time.sleep(rng.uniform(0, 3))  # anywhere: while reading, while writing, around a checkpoint
                assert run.process.poll() is None, run.tail()
                kills.append(time.time())
                run.kill()
    finally:
        producer.over.set()
        producer.join()
    rate = producer.count / (time.monotonic() - began)
    assert producer.failed is None, producer.failed
    finished(files, server.endpoint, *args, "--until-caught-up")
    source = read_stream(client, "input")
    assert source.records == producer.count
    total, repeats = {}, {}
    for output in OUTPUTS:
        content = read_stream(client, output)
        total[output] = assert_same(source, content, output, allow_repeats=True).repeats
        repeats[output] = Repeats(content, kills)
    back.sort()
    oldest = max(r.oldest for r in repeats.values())
    worst = max(max(r.at.values(), default=0) for r in repeats.values())
    measured(f"{rounds} kills, {source.records} records at {rate:.0f}/s: nothing missing; repeats {total}, "
             f"{max(total.values()) / rounds:.0f} a kill and output, {worst} at most; written {oldest:.2f} s before the kill at "
             f"most, with a checkpoint each {INTERVAL:.0f} s; first record in all outputs after a restart: median "
             f"{back[len(back) // 2]:.2f} s, worst {back[-1]:.2f} s")
    assert oldest <= INTERVAL + MARGIN, f"what was written {oldest:.2f} s before a kill was repeated"
    assert back[-1] <= case.back_seconds, f"{back[-1]:.2f} s until the first record after a restart"


def test_a_stop_by_sigterm_loses_nothing_and_repeats_nothing(start_local, files, measured):
    local = start_local("input:3", *(f"{o}:2" for o in OUTPUTS))
    client = local.client()
    producer = Producer(local.client())
    producer.start()
    args = fan_out("input", OUTPUTS, "--state", files / "state.db")
    stops = []
    for _ in range(3):
        tips = Tips(client, OUTPUTS[0])
        with Run(files, local.endpoint, *args) as run:
            wait_for("a record", 10, tips.anything)
            time.sleep(0.5)
            began = time.monotonic()
            assert run.stop() == 0, run.tail()
            stops.append(time.monotonic() - began)
    producer.over.set()
    producer.join()
    assert producer.failed is None, producer.failed
    finished(files, local.endpoint, *args, "--until-caught-up")
    source = read_stream(client, "input")
    for output in OUTPUTS:
        assert_same(source, read_stream(client, output), output)
    measured(f"3 stops and starts, {source.records} records, none missing, none twice; a stop took at most {max(stops):.2f} s")
