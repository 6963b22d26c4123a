"""`distributary` as a user runs it: the release binary, in processes of its own."""

import os
import signal
import subprocess
import time
from pathlib import Path

from servers import REGION, Server, clean_env, die_with_parent

BIN = os.environ.get("DISTRIBUTARY_BIN") or str(
    Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target")) / "release" / "distributary")


class Local(Server):
    """`distributary local` on a free port."""

    name = "local"
    address = r"(https?://(?:127\.0\.0\.1|localhost):\d+)"

    def __init__(self, folder, streams=(), options=()):
        super().__init__(folder)
        self.streams, self.options = streams, options

    def command(self, _port):
        args = [BIN, "local", "--listen", "127.0.0.1:0"]
        for stream in self.streams:
            args += ["--stream", stream]
        return args + list(self.options)


class Run:
    """One `distributary` process with its output kept: `Run(files, endpoint, "run", "--from", …)`."""

    def __init__(self, folder, endpoint, *args, **env):
        self.path = Path(folder) / f"{args[0]}-{time.time_ns()}.log"
        self.command = [BIN, *map(str, args), "--endpoint-url", endpoint, "--region", REGION]
        self.started = time.monotonic()
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env=clean_env(XDG_STATE_HOME=Path(folder) / "state", **env), cwd=folder,
                                            preexec_fn=die_with_parent)

    @property
    def output(self):
        return self.path.read_text(errors="replace")

    def tail(self, lines=30):
        return "\n".join(self.output.splitlines()[-lines:])

    def kill(self):
        """SIGKILL: what a power cut leaves."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=30):
        """SIGTERM, as an init system does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=300):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{' '.join(self.command)} still runs after {timeout} s; its end:\n{self.tail()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def finished(folder, endpoint, *args, code=0, timeout=300, **env):
    """Runs a command to its end, which must be this exit code; its output and how long it took."""
    with Run(folder, endpoint, *args, **env) as run:
        got = run.wait(timeout)
        took = time.monotonic() - run.started
        assert got == code, f"{' '.join(run.command)} ended with {got}, not {code}:\n{run.tail()}"
        return run.output, took


def fan_out(source, outputs, *more):
    """The arguments of `distributary run` for this source and these outputs."""
    args = ["run", "--from", source]
    for output in outputs:
        args += ["--to", output]
    return [*args, *more]


def create(client, name, shards):
    """A stream with so many shards, ACTIVE."""
    client.create_stream(StreamName=name, ShardCount=shards)
    wait_for(f"{name} ACTIVE", 30, lambda: client.describe_stream_summary(StreamName=name)[
        "StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if got := condition():
            return got
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for: {what}")

