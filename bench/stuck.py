#!/usr/bin/env python3
"""Memory with every output stuck, on the real path: it has to stay within the budget and a constant.

    bench/stuck.py [--outputs 50] [--seconds 90] [--how silent]

`distributary local` never answers a write (or throttles nearly all, or is slow: --how); a producer writes 20 MB/s into 16
shards, and `distributary run` reads them for 50 outputs. Prints the process's memory every few seconds.
"""

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from isolation import HOW, TARGET, Copier, build, misbehave, tool
from run import Server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--shards", type=int, default=16, help="of the source")
    parser.add_argument("--rate", type=float, default=20, help="MB/s written")
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--how", choices=HOW, default="silent")
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--no-build", action="store_true")
    args = parser.parse_args()
    if not args.no_build:
        build()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    scratch = Path(tempfile.mkdtemp(prefix="distributary-stuck-"))
    outputs = [f"output{i}" for i in range(1, args.outputs + 1)]
    binary = TARGET / "release" / "distributary"
    server = Server(binary, scratch, [("input", args.shards)] + [(o, 1) for o in outputs], tls=False)
    copier = producer = None
    try:
        for output in outputs:
            misbehave(server, "PutRecords", output, *HOW[args.how])
        copier = Copier(binary, scratch, server, outputs, "--memory", args.memory)
        producer = subprocess.Popen([tool("produce"), "--address", server.address, "--stream", "input", "--rate", str(args.rate),
                                     "--seconds", str(args.seconds)], stdout=subprocess.DEVNULL)
        cpu = copier.cpu()
        print(f"{args.outputs} outputs, {args.shards} shards, {args.rate:g} MB/s, all {args.how}, budget {args.memory}")
        print(f"{'s':>4} {'RSS MB':>7} {'of the budget, MiB':>19} {'source read, MB':>16}")
        started = time.monotonic()
        while time.monotonic() - started < args.seconds:
            time.sleep(5)
            used, read = copier.last["distributary_memory_bytes"], copier.last["distributary_source_bytes_total"]
            print(f"{time.monotonic() - started:>4.0f} {copier.status('VmRSS'):>7.0f} {used / 2**20:>19.0f} {read / 1e6:>16.0f}",
                  flush=True)
        peak, budget = (copier.last[f"distributary_memory_{name}_bytes"] / 2**20 for name in ("peak", "budget"))
        print(f"RSS at most {copier.status('VmHWM'):.0f} MB, of the budget at most {peak:.0f} of {budget:.0f} MiB, "
              f"{(copier.cpu() - cpu) / args.seconds:.2f} CPUs")
    finally:
        for process in (producer, copier and copier.process):
            if process and process.poll() is None:
                process.kill()
        if copier:
            copier.stop()
        server.stop()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
