"""The story that the project began with, by two scripts as a user would write them."""

import json
import subprocess
import sys
import time
from pathlib import Path

from distributary import Run, fan_out
from servers import clean_env

STORY = Path(__file__).parent / "story"
RECORDS = 100


def script(name, *args):
    return subprocess.Popen([sys.executable, STORY / name, *map(str, args)], env=clean_env(), stdout=subprocess.PIPE, text=True)


def test_a_script_puts_records_on_input_and_another_reads_each_of_them_in_order_from_both_outputs(start_local, files, measured):
    local = start_local("input:1", "output1:1", "output2:1")
    began = time.monotonic()
    with Run(files, local.endpoint, *fan_out("input", ["output1", "output2"])) as run:
        producer = script("producer.py", local.endpoint, "input", RECORDS, 0.05)
        for output in ("output1", "output2"):
            reader = script("reader.py", local.endpoint, output, RECORDS)
            seen, _ = reader.communicate(timeout=60)
            assert [json.loads(line) for line in seen.splitlines()] == [{"log": f"Record {i}"} for i in range(RECORDS)]
            assert reader.returncode == 0
            measured(f"{output}: {RECORDS} records, in order, the last {time.monotonic() - began:.1f} s after the start")
        assert producer.wait(30) == 0
        assert run.stop() == 0, run.tail()
