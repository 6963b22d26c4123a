#!/usr/bin/env python3
"""CPU-seconds per GB and output: distributary beside the floor and an aws-sdk-kinesis copier, in one run over TLS.

    bench/run.py [--gb 1] [--outputs 1,5,20] [--record 1024] [--rounds 3]

Starts `distributary local --tls`, fills one stream, and lets each contestant copy it to N fresh outputs in turn. Only the
contestant's own CPU time counts (user + system, from wait4), the server's does not. The machine may be noisy: contestants
take turns within a round, and the median of the rounds is printed, with the ratio to the floor.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BENCH_TARGET = Path(os.environ.get("BENCH_TARGET_DIR", ROOT / "bench" / "target"))


def build():
    env = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    subprocess.run(["cargo", "build", "--release", "-p", "distributary"], cwd=ROOT, env=env, check=True)
    env["CARGO_TARGET_DIR"] = str(BENCH_TARGET)
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT / "bench", env=env, check=True)


def timed(command, env, log):
    """Runs a command to its end; its CPU seconds, wall seconds and peak memory in MB."""
    started = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{Path(log).read_text()[-3000:]}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1024


class Server:
    """`distributary local` on a free port of loopback, with these streams."""

    def __init__(self, binary, scratch, streams, tls=True):
        self.log = scratch / "server.log"
        self.certificate = scratch / "local" / "ca.pem"
        command = [binary, "local", "--listen", "127.0.0.1:0", "--request-log", "off"]
        if tls:
            command += ["--tls", "--tls-cert-out", self.certificate]
        self.certificate.parent.mkdir(exist_ok=True)
        for stream, shards in streams:
            command += ["--stream", f"{stream}:{shards}"]
        self.process = subprocess.Popen(command, stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        while not (found := re.search(r"https?://(127\.0\.0\.1:\d+)", self.log.read_text())):
            if self.process.poll() is not None:
                sys.exit(f"the server ended:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.address = found[1]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown CPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=0.5, help="data to copy, GB")
    parser.add_argument("--outputs", default="1,5,20")
    parser.add_argument("--record", type=int, default=1024, help="bytes a record")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-build", action="store_true")
    args = parser.parse_args()
    if not args.no_build:
        build()
    binary = TARGET / "release" / "distributary"
    records = int(args.gb * 1e9 / args.record)
    records -= records % 5000
    gb = records * args.record / 1e9
    print(f"{records} records of {args.record} bytes ({gb:.2f} GB), one shard, TLS, {cpu()}", flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    print(f"{'outputs':>8} {'contestant':<22} {'CPU-s/GB/output':>16} {'x floor':>8} {'MB/s in':>8} {'peak MB':>8}")
    for n in map(int, args.outputs.split(",")):
        seconds, walls, peaks = {}, {}, {}
        for _ in range(args.rounds):
            for name in ("floor", "distributary", "aws-sdk-kinesis"):
                scratch = Path(tempfile.mkdtemp(prefix="distributary-bench-"))
                outputs = [f"output{i}" for i in range(1, n + 1)]
                server = Server(binary, scratch, [("input", 1)] + [(o, 1) for o in outputs])
                try:
                    env = {
                        "PATH": os.environ["PATH"], "HOME": str(scratch), "AWS_ACCESS_KEY_ID": "AKID",
                        "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_REGION": "us-east-1", "AWS_CA_BUNDLE": str(server.certificate),
                        "AWS_ENDPOINT_URL": f"https://{server.address}", "AWS_EC2_METADATA_DISABLED": "true",
                    }
                    fill = [BENCH_TARGET / "release" / "fill", "--address", server.address, "--ca", server.certificate,
                            "--stream", "input", "--records", str(records), "--size", str(args.record)]
                    timed(fill, env, scratch / "fill.log")
                    common = ["--ca", server.certificate, "--from", "input", "--records", str(records), "--to", *outputs]
                    command = {
                        "floor": [BENCH_TARGET / "release" / "floor", "--address", server.address, *common],
                        "aws-sdk-kinesis": [BENCH_TARGET / "release" / "sdk-copier", "--endpoint-url",
                                            f"https://{server.address}", *common],
                        "distributary": [binary, "run", "--from", "input", *sum((["--to", o] for o in outputs), []),
                                         "--state", scratch / "state.db", "--until-caught-up"],
                    }[name]
                    used, wall, peak = timed(command, env, scratch / "contestant.log")
                    seconds.setdefault(name, []).append(used / gb / n)
                    walls.setdefault(name, []).append(gb * 1000 / wall)
                    peaks.setdefault(name, []).append(peak)
                finally:
                    server.stop()
                    shutil.rmtree(scratch)
        floor = statistics.median(seconds["floor"])
        for name in seconds:
            s = statistics.median(seconds[name])
            print(f"{n:>8} {name:<22} {s:>16.2f} {s / floor:>8.2f} {statistics.median(walls[name]):>8.1f} "
                  f"{statistics.median(peaks[name]):>8.0f}", flush=True)


if __name__ == "__main__":
    main()
