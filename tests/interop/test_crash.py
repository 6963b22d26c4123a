"""kill -9 in the middle: nothing missing, repeats counted, quick to be back."""

import random
import threading
import time

from conftest import LONG
from distributary import Run, fan_out, finished, wait_for
from records import assert_same, read_stream

OUTPUTS = ["output1", "output2", "output3"]
RATE = 400  # records a second
ROUNDS = 100 if LONG else 10
BACK_SECONDS = 2


class Producer(threading.Thread):
    """Puts numbered records at a steady rate until it is told to stop."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.count, self.failed = client, 0, None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.wait(0.05):
                entries = [{"PartitionKey": f"key-{(self.count + i) % 17}", "Data": f"record {self.count + i}".encode()}
                           for i in range(RATE // 20)]
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


def test_nothing_is_missing_after_kill_9_again_and_again_and_the_first_record_is_back_within_two_seconds(
        start_local, files, measured):
    local = start_local("input:3", *(f"{o}:2" for o in OUTPUTS))
    client = local.client()
    rng = random.Random(ROUNDS)
    producer = Producer(local.client())
    producer.start()
    args = fan_out("input", OUTPUTS, "--state", files / "state.db")
    back = []
    try:
        for _ in range(ROUNDS):
            tips = {o: Tips(client, o) for o in OUTPUTS}
            with Run(files, local.endpoint, *args) as run:
                for output in OUTPUTS:
                    wait_for(f"a record in {output}; {run.tail()}", 10, tips[output].anything)
                back.append(time.monotonic() - run.started)
                time.sleep(rng.uniform(0, 3))  # anywhere: while reading, while writing, around a checkpoint
                assert run.process.poll() is None, run.tail()
                run.kill()
    finally:
        producer.over.set()
        producer.join()
    assert producer.failed is None, producer.failed
    finished(files, local.endpoint, *args, "--until-caught-up")
    source = read_stream(client, "input")
    assert source.records == producer.count
    repeats = {}
    for output in OUTPUTS:
        repeats[output] = assert_same(source, read_stream(client, output), output, allow_repeats=True).repeats
    back.sort()
    measured(f"{ROUNDS} kills, {source.records} records at {RATE}/s: nothing missing; repeats {repeats}, "
             f"{max(repeats.values()) / ROUNDS:.0f} a kill; first record in all outputs after a restart: median "
             f"{back[len(back) // 2]:.2f} s, worst {back[-1]:.2f} s")
    assert back[-1] <= BACK_SECONDS, f"{back[-1]:.2f} s until the first record after a restart"


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
