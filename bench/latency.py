#!/usr/bin/env python3
"""What one request in flight gives a lane: MB/s from one shard to one output over a round trip of 20 ms.

    bench/latency.py [--delay 20] [--seconds 6]

`distributary local` holds up each GetRecords of the source and each PutRecords of the output by --delay milliseconds; the
source's one shard is filled before, and `distributary run` copies it. Once with AWS's limit of a shard, 2 MiB a second read
(see isolation.py), once without. Per order mode and number of keys: `strict` sends one record of a key per request.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from isolation import TARGET, Copier, build, misbehave, tool
from run import Server, cpu


def lane(args, binary, size, order, keys, as_aws):
    """MB/s, records/s and requests/s that became durable, over --seconds or until all has."""
    scratch = Path(tempfile.mkdtemp(prefix="distributary-latency-"))
    server = Server(binary, scratch, [("input", 1), ("output", 1)], tls=False)
    copier = None
    try:
        # No faster than four reads of 4 MiB a second.
        records = int(17e6 * (args.seconds + 2) / max(size, 400) / 500) * 500
        fill = [tool("produce"), "--address", server.address, "--stream", "input", "--rate", "0", "--records", str(records),
                "--size", str(size), "--keys", str(keys)]
        subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
        misbehave(server, "GetRecords", "input", {"delay": {"ms": args.delay}})
        misbehave(server, "PutRecords", "output", {"delay": {"ms": args.delay}})
        copier = Copier(binary, scratch, server, ["output"], "--order", order, as_aws=as_aws)

        def durable():
            now, all_of_it = time.monotonic(), copier.metrics()
            names = ("bytes_delivered_total", "records_delivered_total", "requests_total")
            return now, *(all_of_it[f'distributary_{name}{{output="output"}}'] for name in names)

        first = durable()
        while first[2] == 0:
            time.sleep(0.02)
            first = durable()
        last = first
        while last[0] - first[0] < args.seconds and last[2] < records:
            time.sleep(0.1)
            last = durable()
        took = last[0] - first[0]
        if took < 1:
            raise SystemExit("too few records to measure with")
        moved, delivered, requests = ((b - a) / took for a, b in zip(first[1:], last[1:]))
        return moved / 1e6, delivered, requests
    finally:
        if copier:
            if copier.process.poll() is None:
                copier.process.kill()
            copier.stop()
        server.stop()
        shutil.rmtree(scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=int, default=20, help="milliseconds of each request")
    parser.add_argument("--seconds", type=float, default=6, help="for each line")
    parser.add_argument("--no-build", action="store_true")
    args = parser.parse_args()
    if not args.no_build:
        build()
    binary = TARGET / "release" / "distributary"
    print(f"one lane, one request in flight, {args.delay} ms a request, load {os.getloadavg()[0]:.1f}, {cpu()}")
    print(f"{'bytes':>6} {'order':<8} {'keys':>6} {'read limit':<10} {'MB/s':>7} {'records/s':>10} {'requests/s':>11} {'records/request':>16}", flush=True)
    for size in (1024, 100):
        for order, keys in (("resend", 10_007), ("strict", 10_007), ("strict", 17), ("strict", 1)):
            for as_aws in (True, False):
                moved, delivered, requests = lane(args, binary, size, order, keys, as_aws)
                print(f"{size:>6} {order:<8} {keys:>6} {'2 MiB/s' if as_aws else 'none':<10} {moved:>7.2f} {delivered:>10.0f} "
                      f"{requests:>11.1f} {delivered / max(requests, 1e-9):>16.1f}", flush=True)


if __name__ == "__main__":
    main()
