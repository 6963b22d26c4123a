"""Starts the Kinesis servers that the tests speak to, waits until they answer, and ends them by their process id.

Each listens on 127.0.0.1 only. Where the server can choose a free port itself it does; ministack cannot, so a port is picked
for it and another one tried if it was taken meanwhile.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config

HERE = Path(__file__).resolve().parent
DEPS = Path(os.environ.get("INTEROP_DEPS", HERE / ".deps"))
NODE = DEPS / "node" / "node_modules"
REGION = "us-east-1"
START_SECONDS = 60
PORT_TRIES = 5
# Any credentials do; an account number as the key id is what moto, ministack and kinesis-local read the account from.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION,
               "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}


def clean_env(**more):
    """The environment for a child: nothing of AWS or Distributary that the machine happens to have, and test credentials."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DISTRIBUTARY_"))}
    env.update(CREDENTIALS)
    env.update(HOME=str(scratch_home()), **{k: str(v) for k, v in more.items()})
    return env


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_home = None


def scratch_home():
    """An empty home, so that no ~/.aws of the machine takes part."""
    global _home
    if _home is None:
        _home = Path(tempfile.mkdtemp(prefix="interop-home-"))
        import atexit
        atexit.register(shutil.rmtree, _home, ignore_errors=True)
    return _home


def die_with_parent():
    """Runs in the child: should the tests themselves be killed, the kernel ends it too (Linux)."""
    if _libc:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def kinesis(endpoint, read_timeout=60, verify=False, **config):
    """A boto3 client without retries, so that what a server answers is seen as it is."""
    return boto3.client(
        "kinesis", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"], verify=verify,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout, connect_timeout=10,
                      max_pool_connections=32, **config))


class Server:
    """A running server: `endpoint`, and `stop()`; also a context manager."""

    name = "?"
    version = "?"

    def __init__(self, log_dir):
        self.log_path = Path(log_dir) / f"{self.name}-{os.getpid()}-{time.time_ns()}.log"
        self.process = None
        self.endpoint = None

    # What each kind says: the command, its environment, and how its address is learned from its log (or None: the port given).
    def command(self, port):
        raise NotImplementedError

    address = None

    def env(self, _port):
        return clean_env()

    def start(self):
        for attempt in range(PORT_TRIES):
            port = free_port()
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen(self.command(port), stdout=log, stderr=subprocess.STDOUT,
                                                stdin=subprocess.DEVNULL, env=self.env(port), cwd=self.log_path.parent,
                                                preexec_fn=die_with_parent)
            if self._wait(port):
                return self
            self.stop()
        raise RuntimeError(f"{self.name} did not start; the end of its log:\n{self.log_tail()}")

    def _wait(self, port):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            if self.address is None:
                self.endpoint = f"http://127.0.0.1:{port}"
            elif found := re.search(self.address, self.log()):
                self.endpoint = found.group(1)
            if self.endpoint and self._answers():
                return True
            time.sleep(0.05)
        return False

    def _answers(self):
        try:
            kinesis(self.endpoint, read_timeout=5).list_streams()
            return True
        except Exception:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines=25):
        return "\n".join(self.log().splitlines()[-lines:])

    def stop(self):
        """SIGTERM, then SIGKILL after five seconds; only to the process started here. Returns its exit code."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.endpoint = None
        return process.returncode

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def client(self, **kw):
        return kinesis(self.endpoint, **kw)


class Moto(Server):
    name = "moto"
    address = r"Running on (http://127\.0\.0\.1:\d+)"

    def command(self, _port):
        return [str(DEPS / "venv/bin/python"), str(HERE / "moto_serve.py")]


class Ministack(Server):
    name = "ministack"

    def command(self, _port):
        return [str(DEPS / "venv/bin/ministack")]

    def env(self, port):
        return clean_env(GATEWAY_PORT=port, BIND_HOST="127.0.0.1", PERSIST_STATE="0", LOG_LEVEL="WARNING", SERVICES="kinesis,dynamodb")


class KinesisLocal(Server):
    name = "kinesis-local"
    address = r"LOOPBACK 4568 (http://127\.0\.0\.1:\d+)"

    def command(self, _port):
        return ["node", "-r", str(HERE / "loopback.cjs"), str(NODE / "kinesis-local" / "main.js")]

    def env(self, _port):
        quick = {f"{op}_DURATION": "10ms" for op in (
            "CREATE_STREAM", "DELETE_STREAM", "REGISTER_STREAM_CONSUMER", "START_STREAM_ENCRYPTION", "STOP_STREAM_ENCRYPTION",
            "DEREGISTER_STREAM_CONSUMER", "MERGE_SHARDS", "SPLIT_SHARD", "UPDATE_SHARD_COUNT", "UPDATE_STREAM_MODE")}
        return clean_env(LOG_LEVEL="WARN", SHARD_LIMIT=500, KINESIS_MOCK_CERT_PATH=NODE / "kinesis-local" / "server.json", **quick)


class Kinesalite(Server):
    name = "kinesalite"
    address = r"LOOPBACK 4567 (http://127\.0\.0\.1:\d+)"

    def command(self, _port):
        return ["node", "-r", str(HERE / "loopback.cjs"), str(NODE / "kinesalite" / "cli.js"), "--createStreamMs", "10",
                "--deleteStreamMs", "10", "--updateStreamMs", "10", "--shardLimit", "500"]


class Ferrokinesis(Server):
    """Built from crates.io, so only where INTEROP_FERROKINESIS=1 asked for it (see `run`)."""

    name = "ferrokinesis"

    def command(self, port):
        return [str(DEPS / "ferrokinesis/bin/ferrokinesis"), "--port", str(port), "--shard-limit", "500", "--create-stream-ms", "10",
                "--delete-stream-ms", "10", "--update-stream-ms", "10"]


OTHERS = {s.name: s for s in (Moto, Ministack, KinesisLocal, Kinesalite, Ferrokinesis)}

if __name__ == "__main__":  # python servers.py moto: start one and print its address, to try things by hand
    with OTHERS[sys.argv[1]](tempfile.mkdtemp()) as server:
        print(server.endpoint, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
