#!/usr/bin/env python3
"""Isolation on the real path: what one output that crawls and one that is gone do to the others, to memory and to CPU.

    bench/isolation.py [--seconds 60] [--rate 20] [--shards 32] [--outputs 5] [--rounds 2]

A producer writes records of 1 KiB at a steady rate into a stream of `distributary local`; `distributary run` copies it to
five others. Undisturbed and disturbed runs take turns. In a disturbed one, once it runs smoothly, the last output's stream
is deleted and the one before it (or several: --crawling) is throttled (or slow, or silent: --how) for --seconds; then all
are mended while the producer goes on for --recover seconds, and the run ends when all have caught up. In an undisturbed
one nothing happens at these moments. The time from a record's arrival at the source to its arrival at an output is read
afterwards from the streams, where the server keeps both (one clock); all records of the stretch count. `distributary
verify` has the last word.

The reads keep to AWS's limits of a shard, five calls and 2 MiB a second: the program takes the server for AWS by its
name, which leads to it through HTTP_PROXY.
"""

import argparse
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from run import BENCH_TARGET, ROOT, TARGET, Server, cpu

# Of this name the program believes that it is AWS. It leads nowhere but through the proxy, which is the server itself.
AS_AWS = "http://kinesis.us-east-1.aws.invalid"
TICKS = os.sysconf("SC_CLK_TCK")
HOW = {
    "throttled": [{"throttle_entries": {"probability": 0.98}}],
    "slow": [{"delay": {"ms": 5000}}, {"throttle_entries": {"probability": 0.9}}],
    "silent": [{"hold": {"gate": "stuck"}}],
}


def build():
    env = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    subprocess.run(["cargo", "build", "--release", "-p", "distributary"], cwd=ROOT, env=env, check=True)
    env["CARGO_TARGET_DIR"] = str(BENCH_TARGET)
    tools = ["cargo", "build", "--release", "--no-default-features", "--bin", "produce", "--bin", "delivery"]
    subprocess.run(tools, cwd=ROOT / "bench", env=env, check=True)


def tool(name):
    return BENCH_TARGET / "release" / name


def now_ms():
    return int(time.time() * 1000)


def http(url, body=None, method=None, headers=None):
    request = urllib.request.Request(url, data=body and json.dumps(body).encode(), method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read().decode()


def kinesis(server, operation, **body):
    http(f"http://{server.address}/", body, headers={
        "x-amz-target": f"Kinesis_20131202.{operation}", "content-type": "application/x-amz-json-1.1",
        "x-amz-date": "20260101T000000Z", "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/kinesis/"
        "aws4_request, SignedHeaders=host, Signature=00"})


def misbehave(server, operation, stream, *actions):
    for action in actions:
        rule = {"select": {"operations": [operation], "stream": stream}, "action": action}
        http(f"http://{server.address}/_distributary/faults", rule)


def behave(server):
    http(f"http://{server.address}/_distributary/faults", method="DELETE")


class Copier:
    """`distributary run`, watched: its memory, its CPU time and what its metrics say, twice a second."""

    def __init__(self, binary, scratch, server, outputs, *more, as_aws=True):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.metrics_at = f"127.0.0.1:{free.getsockname()[1]}"
        env = {"PATH": os.environ["PATH"], "HOME": str(scratch), "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET",
               "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        if as_aws:
            env["HTTP_PROXY"] = f"http://{server.address}"
        self.log = scratch / "run.log"
        self.process = subprocess.Popen(
            [binary, "run", "--from", "input", "--to", *outputs, "--state", scratch / "state.db",
             "--endpoint-url", AS_AWS if as_aws else f"http://{server.address}", "--metrics", self.metrics_at, *more],
            env=env, stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        self.rss, self.memory, self.last, self.ended = [], [], {}, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        self.until(lambda m: m.get("distributary_source_shards_reading"), 30, "it does not start")

    def watch(self):
        while not self.ended:
            try:
                self.rss.append((now_ms(), self.status("VmRSS")))
                self.last = self.metrics()
                self.memory.append((now_ms(), self.last["distributary_memory_bytes"]))
            except (OSError, StopIteration, KeyError):
                pass
            time.sleep(0.5)

    def metrics(self):
        text = http(f"http://{self.metrics_at}/metrics")
        # One fan-out runs, so the label says nothing.
        text = re.sub(r'fan_out="[^"]*",?', "", text).replace("{}", "")
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def status(self, name):
        """Of /proc/PID/status, in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def of(self, metric, output):
        return self.last.get(f'distributary_{metric}{{output="{output}"}}')

    def until(self, condition, limit, complaint):
        started = time.monotonic()
        while not condition(self.last):
            if self.process.poll() is not None or time.monotonic() - started > limit:
                sys.exit(f"{complaint}; its log ends:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return time.monotonic() - started

    def stop(self):
        self.ended = True
        self.thread.join()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)


def one_run(args, binary, disturbed):
    scratch = Path(tempfile.mkdtemp(prefix="distributary-isolation-"))
    outputs = [f"output{i}" for i in range(1, args.outputs + 1)]
    *well, gone = outputs
    well, slow = well[:-args.crawling], well[-args.crawling:]
    server = Server(binary, scratch, [(s, args.shards) for s in ["input", *outputs]], tls=False)
    copier = producer = None
    try:
        copier = Copier(args.program or binary, scratch, server, outputs, "--memory", args.memory)
        total = args.settle + args.seconds + args.recover
        producer = subprocess.Popen([tool("produce"), "--address", server.address, "--stream", "input", "--rate", str(args.rate),
                                     "--seconds", str(total)], stdout=subprocess.PIPE, text=True)
        time.sleep(args.settle)
        result = {"disturbed": disturbed}
        begin, cpu_before, source_before = now_ms(), copier.cpu(), copier.last
        if disturbed:
            for output in slow:
                misbehave(server, "PutRecords", output, *HOW[args.how])
            kinesis(server, "DeleteStream", StreamName=gone)
        time.sleep(args.seconds)
        mended = now_ms()
        if disturbed:
            result["behind"] = {o: copier.of("behind_seconds", o) for o in outputs}
            result["errors"] = {name: value for name, value in copier.last.items() if name.startswith("distributary_errors")}
            behave(server)
            kinesis(server, "CreateStream", StreamName=gone, ShardCount=args.shards)
        result["cpu"] = (copier.cpu() - cpu_before) / ((mended - begin) / 1000)
        read = copier.last["distributary_source_bytes_total"] - source_before["distributary_source_bytes_total"]
        result["read_mb_s"] = read / 1e3 / (mended - begin)
        used = [m for at, m in copier.memory if begin <= at < mended]
        result["used"] = (sorted(used)[len(used) // 2] / 2**20, max(used) / 2**20)
        result["load"] = os.getloadavg()[0]
        wait_back = threading.Thread(target=lambda: result.update(back=back(copier, outputs, args.limit)))
        wait_back.start()
        said, _ = producer.communicate()
        result["producer"] = json.loads(said)
        end = now_ms()
        wait_back.join()
        whole = well + slow if disturbed else outputs
        copier.until(lambda m: all(copier.of("records_delivered_total", o) == result["producer"]["records"] for o in whole),
                     args.limit, "not all arrives")
        result["rss"] = copier.status("VmHWM")
        result["peak"] = copier.last["distributary_memory_peak_bytes"] / 2**20
        result["budget"] = copier.last["distributary_memory_budget_bytes"] / 2**20
        result["exit"] = copier.stop()
        measure = [tool("delivery"), "--address", server.address, "--from", "input", "--to", *outputs,
                   "--window", f"disturbed:{begin}:{mended}", "--window", f"mended:{mended}:{end - 1000}"]
        lines = subprocess.run(measure, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        result["outputs"] = {r["output"]: r for r in map(json.loads, lines)}
        result["verify"] = verify(binary, server, scratch, whole)
        return result, well
    finally:
        for process in (producer, copier and copier.process):
            if process and process.poll() is None:
                process.kill()
        if copier:
            copier.ended = True
        server.stop()
        if args.keep_logs:
            print(f"logs: {scratch}", file=sys.stderr)
        else:
            shutil.rmtree(scratch)


def back(copier, outputs, limit):
    """Seconds until each output is in the window with all its shards and less than two seconds behind, and stays there
    until all are."""
    started, back = time.monotonic(), {}
    while len(back) < len(outputs) and time.monotonic() - started < limit and copier.process.poll() is None:
        for output in outputs:
            catching_up, behind = copier.of("shards_catching_up", output), copier.of("behind_seconds", output)
            if catching_up == 0 and behind is not None and behind < 2:
                back.setdefault(output, round(time.monotonic() - started, 1))
            else:
                back.pop(output, None)
        time.sleep(0.2)
    return back


def verify(binary, server, scratch, outputs):
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch), "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET"}
    command = [binary, "verify", "--from", "input", "--to", *outputs, "--allow-repeats", "--endpoint-url",
               f"http://{server.address}", "--region", "us-east-1", "--temp-dir", scratch]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def show(result):
    kind = "disturbed" if result["disturbed"] else "undisturbed"
    print(f"\n{kind}: {result['producer']['mb_per_second']} MB/s written, {result['read_mb_s']:.1f} MB/s read, "
          f"{result['cpu']:.2f} CPUs, RSS at most {result['rss']:.0f} MB, memory p50 {result['used'][0]:.0f}, max "
          f"{result['used'][1]:.0f}, ever {result['peak']:.0f} of {result['budget']:.0f} MiB, load {result['load']:.1f}, exit code {result['exit']}")
    if result["disturbed"]:
        behind = ", ".join(f"{o} {s:.1f} s behind" for o, s in result["behind"].items() if s is not None)
        print(f"  at the end of the disturbance: {behind}")
    print(f"  in the window again after, s: {result['back']}")
    for output, r in result["outputs"].items():
        parts = [f"  {output:<8}"]
        for name in ("disturbed", "mended"):
            w = r["windows"][name]
            parts.append(f"{name if result['disturbed'] or name != 'disturbed' else 'before':>9}: p50 {w['p50']} p99 {w['p99']} max {w['max']} ms;")
        parts.append(f"missing {r['missing']}, holes {r['holes']}, repeats {r['repeats']}")
        print(" ".join(parts))
    code, text = result["verify"]
    print(f"  verify: exit code {code}: {text.strip().splitlines()[-1] if text.strip() else ''}", flush=True)
    if code:
        print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20, help="MB/s written")
    parser.add_argument("--shards", type=int, default=32, help="of each stream")
    parser.add_argument("--outputs", type=int, default=5, help="the last is deleted, those before it crawl, the rest is well")
    parser.add_argument("--crawling", type=int, default=1, help="how many crawl")
    parser.add_argument("--settle", type=float, default=5, help="seconds before the disturbance")
    parser.add_argument("--seconds", type=float, default=60, help="length of the disturbance")
    parser.add_argument("--recover", type=float, default=30, help="seconds that the producer goes on afterwards")
    parser.add_argument("--limit", type=float, default=300, help="seconds until all must have caught up")
    parser.add_argument("--how", choices=HOW, default="throttled", help="what those that crawl are")
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["undisturbed", "disturbed"])
    parser.add_argument("--program", type=Path, help="the `distributary` to measure, if not the one that is built (an older one)")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--keep-logs", action="store_true")
    args = parser.parse_args()
    if not 0 < args.crawling < args.outputs - 1:
        parser.error("one output at least must crawl, and one must be well")
    if not args.no_build:
        build()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    print(f"{args.rate:g} MB/s of 1 KiB records, {args.shards} shards, {args.outputs} outputs, {args.crawling} {args.how} "
          f"and one deleted for {args.seconds:g} s, {cpu()}", flush=True)
    p99 = {False: [], True: []}
    for _ in range(args.rounds):
        for disturbed in (False, True):
            if args.only and disturbed != (args.only == "disturbed"):
                continue
            result, well = one_run(args, TARGET / "release" / "distributary", disturbed)
            show(result)
            p99[disturbed].append(max(result["outputs"][o]["windows"]["disturbed"]["p99"] for o in well))
    if p99[False] and p99[True]:
        medians = {kind: sorted(values)[len(values) // 2] for kind, values in p99.items()}
        print(f"\np99 of the others (the worst of them, median of the runs): undisturbed {medians[False]} ms, disturbed "
              f"{medians[True]} ms, ratio {medians[True] / medians[False]:.2f}")


if __name__ == "__main__":
    main()
