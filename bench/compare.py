#!/usr/bin/env python3
"""CPU-seconds per GB and output of two or more builds of distributary, in one run.

    bench/compare.py BEFORE=/path/to/distributary AFTER=target/release/distributary [--gb 0.1] [--outputs 1,5,20]

The embedded Kinesis runs in a process of its own, in clear text, so that a difference between builds is not hidden behind TLS.
Each build copies the same stream to N fresh outputs; builds and formats (CBOR, JSON) take turns within a round. Printed are the
median and the range of the copying process's own CPU time (user + system, from wait4).
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from run import cpu, timed

SIGNED_BY_NOBODY = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0"


class Server:
    """`distributary local` on a free port of loopback."""

    def __init__(self, binary, scratch, outputs, shards):
        log = scratch / "server.log"
        command = [binary, "local", "--listen", "127.0.0.1:0", "--request-log", "off", "--stream", f"input:{shards}"]
        for output in outputs:
            command += ["--stream", f"{output}:{shards}"]
        self.process = subprocess.Popen(command, stdout=open(log, "wb"), stderr=subprocess.STDOUT)
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended:\n{log.read_text()}")
            time.sleep(0.05)
        self.url = found[0]

    def post(self, path, body, headers=()):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), dict(headers))
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def fill(self, records, size):
        headers = {"X-Amz-Target": "Kinesis_20131202.PutRecords", "Content-Type": "application/x-amz-json-1.1",
                   "Authorization": SIGNED_BY_NOBODY, "X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())}
        for first in range(0, records, 500):
            entries = [{"PartitionKey": f"key-{i % 1000}", "Data": base64.b64encode(os.urandom(size)).decode()}
                       for i in range(first, min(first + 500, records))]
            answer = json.loads(self.post("/", {"StreamName": "input", "Records": entries}, headers.items()))
            assert answer["FailedRecordCount"] == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def measure(server_binary, binary, fmt, outputs, args):
    """One copy; CPU seconds a GB and output."""
    scratch = Path(tempfile.mkdtemp(prefix="distributary-compare-"))
    server = Server(server_binary, scratch, outputs, args.shards)
    try:
        records = int(args.gb * 1e9 / args.record)
        server.fill(records, args.record)
        if fmt == "json":
            # A server that does not understand the first call, which is in CBOR, is spoken to in JSON from then on.
            server.post("/_distributary/faults", {"select": {}, "script": [{"error": {"code": "SerializationException"}}]})
        env = {"PATH": os.environ["PATH"], "HOME": str(scratch), "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET",
               "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.url, "AWS_EC2_METADATA_DISABLED": "true"}
        command = [binary, "run", "--from", "input", *sum((["--to", o] for o in outputs), []),
                   "--state", scratch / "state.db", "--until-caught-up"]
        used, _, _ = timed(command, env, scratch / "run.log")
        is_json = "JSON" in (scratch / "run.log").read_text()
        assert is_json == (fmt == "json"), (scratch / "run.log").read_text()
        return used / (records * args.record / 1e9) / len(outputs)
    finally:
        server.stop()
        shutil.rmtree(scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--gb", type=float, default=0.1, help="data to copy, GB")
    parser.add_argument("--outputs", default="1,5,20")
    parser.add_argument("--record", type=int, default=1024, help="bytes a record")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    builds = [build.split("=", 1) for build in args.builds]
    builds = [(name, Path(path).resolve()) for name, path in builds]

    print(f"{args.gb} GB in records of {args.record} bytes, {args.shards} shards, clear text, {args.rounds} rounds, {cpu()}, "
          f"load {os.getloadavg()[0]:.1f}")
    print(f"{'outputs':>8} {'format':<7} {'build':<10} {'CPU-s/GB/output':>16} {'range':>14} {'x first':>8}", flush=True)
    for n in map(int, args.outputs.split(",")):
        outputs = [f"output{i}" for i in range(1, n + 1)]
        seconds = {}
        for _ in range(args.rounds):
            for fmt in ("cbor", "json"):
                for name, binary in builds:
                    used = measure(builds[0][1], binary, fmt, outputs, args)
                    seconds.setdefault((fmt, name), []).append(used)
        for (fmt, name), all_of in seconds.items():
            first = statistics.median(seconds[fmt, builds[0][0]])
            median = statistics.median(all_of)
            print(f"{n:>8} {fmt:<7} {name:<10} {median:>16.3f} {min(all_of):>6.3f} - {max(all_of):.3f} {median / first:>8.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
