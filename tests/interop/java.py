"""The Java applications as processes: a consumer with the KCL, a producer with the KPL."""

import queue
import subprocess
import threading
import time

from servers import DEPS, clean_env, die_with_parent

# The KCL waits a minute after its first shard sync before it consumes, whatever the settings.
CONSUME_SECONDS = 180


def java(files, name, *command):
    """The command that starts a class of that build (`kcl`, `kpl`); its class path is longer than a command line."""
    arguments = files / f"java-{name}-{time.time_ns()}.args"
    arguments.write_text(f"-cp {DEPS / name / 'classes'}:{(DEPS / name / 'classpath').read_text().strip()}\n")
    return ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx256m", f"@{arguments}", *command]


class Consumer:
    """A KCL application as a process: its lines sorted into records per shard, and shards ended."""

    def __init__(self, files, kinesis, dynamo, stream, mode, puts, *application):
        self.errors = files / f"kcl-{stream}-{mode}.log"
        self.records, self.ended, self.said = [], set(), queue.Queue()
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                java(files, "kcl", "distributary.interop.Consume", kinesis, dynamo, stream, mode, str(puts), *application),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_env(), preexec_fn=die_with_parent)
        self.started = time.monotonic()
        self.first = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            kind, *rest = line.split()
            if kind == "RECORD":
                self.first = self.first or time.monotonic() - self.started
                shard, sequence, key, data = (*rest, "")[:4]  # no data leaves no fourth word
                self.records.append((shard, int(sequence), key, bytes.fromhex(data)))
            elif kind == "ENDED":
                self.ended.add(rest[0])
            else:
                self.said.put(line.strip())

    def wait_put(self):
        try:
            return self.said.get(timeout=60)
        except queue.Empty:
            raise AssertionError(self.log()) from None

    def log(self):
        return "\n".join(self.errors.read_text(errors="replace").splitlines()[:40])

    def alive(self):
        assert self.process.poll() is None, f"the KCL application ended with {self.process.returncode}:\n{self.log()}"

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def produce(files, endpoint, stream, count):
    """Writes that many user records with the KPL to an https endpoint; each as `(partition key, explicit hash key or None, data)`."""
    errors = files / "kpl.log"
    with open(errors, "wb") as log:
        done = subprocess.run(java(files, "kpl", "distributary.interop.Produce", endpoint, stream, str(count)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=log, text=True, env=clean_env(), preexec_fn=die_with_parent, timeout=120)
    *users, put = done.stdout.splitlines() or [""]
    assert (done.returncode, put) == (0, f"PUT {count}"), errors.read_text(errors="replace")[-4_000:]
    return [(key, None if hash_key == "-" else hash_key, bytes.fromhex(data)) for _, key, hash_key, data in map(str.split, users)]
