"""Outputs of the kinds `redis` and `memcached` against the real servers of the machine (Debian packages redis-server and memcached)."""

import json
import shutil
import socket
import subprocess
import time

import pytest

from distributary import Run, finished, wait_for
from records import put_all
from servers import clean_env, die_with_parent, free_port

RECORDS, KEYS = 600, 20


def records():
    return [(f"key-{i % KEYS}", None, json.dumps({"key": f"key-{i % KEYS}", "n": i}).encode()) for i in range(RECORDS)]


class Server:
    """A server on a free port of 127.0.0.1, ended with the test."""

    def __init__(self, folder, program, arguments):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}: apt-get install {program}")
        self.port = free_port()
        command = [program, *(argument.replace("PORT", str(self.port)) for argument in arguments)]
        self.process = subprocess.Popen(command, cwd=folder, env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)

    def __enter__(self):
        wait_for("an answer", 10, self.answers)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False


class Client:
    """Lines over a socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")

    def redis(self, *words):
        words = [word.encode() if isinstance(word, str) else word for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.reply()

    def reply(self):
        line = self.file.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        assert kind in b"+:", line
        return int(rest) if kind == b":" else rest

    def memcached(self, key):
        self.socket.sendall(f"get {key}\r\n".encode())
        head = self.file.readline().split()
        if head[0] == b"END":
            return None
        value = self.file.read(int(head[3]) + 2)[:-2]
        assert self.file.readline() == b"END\r\n"
        return value


def redis(files):
    return Server(files, "redis-server", ["--port", "PORT", "--bind", "127.0.0.1", "--save", ""])


def memcached(files):
    return Server(files, "memcached", ["-u", "nobody", "-l", "127.0.0.1", "-p", "PORT", "-U", "0"])


def run(files, local, keys):
    config = files / "one.toml"
    config.write_text(f'from = "input"\nstate = "one-{time.time_ns()}.db"\nuntil-caught-up = true\ndead-letter = "file:dead.jsonl"\n[[output]]\n{keys}\n')
    return finished(files, local.endpoint, "run", "-c", config, timeout=120)


def newest():
    return {f"key-{i % KEYS}": i for i in range(RECORDS)}


def test_redis_has_every_record_in_the_order_of_its_key(start_local, files):
    local = start_local("input:2")
    put_all(local.client(), "input", records())
    with redis(files) as server:
        client, url = Client(server.port), f'type = "redis"\nurl = "redis://127.0.0.1:{server.port}"\n'
        run(files, local, url + 'ttl = "1h"')
        assert {key: json.loads(client.redis("GET", key))["n"] for key in newest()} == newest()
        assert 3590 < client.redis("TTL", "key-1") <= 3600

        run(files, local, url + 'write = "list"\nkey = "list:{partitionKey}"')
        for key in newest():
            numbers = [json.loads(value)["n"] for value in client.redis("LRANGE", f"list:{key}", "0", "-1")]
            assert numbers == [i for i in range(RECORDS) if f"key-{i % KEYS}" == key]

        run(files, local, url + 'write = "stream"\nkey = "orders"')
        entries = [dict(zip(fields[::2], fields[1::2])) for _, fields in client.redis("XRANGE", "orders", "-", "+")]
        assert len(entries) == RECORDS
        for key in newest():
            numbers = [json.loads(entry[b"data"])["n"] for entry in entries if entry[b"partitionKey"] == key.encode()]
            assert numbers == [i for i in range(RECORDS) if f"key-{i % KEYS}" == key]

        # A key of another type refuses its records, and no others.
        client.redis("FLUSHALL")
        client.redis("RPUSH", "list:key-3", "x")
        client.redis("SET", "list:key-4", "x")
        run(files, local, url + 'write = "list"\nkey = "list:{partitionKey}"')
        dead = [json.loads(line) for line in (files / "dead.jsonl").read_text().splitlines()]
        assert {letter["key"] for letter in dead} == {"key-4"} and {letter["code"] for letter in dead} == {"WRONGTYPE"}
        assert len(dead) == RECORDS // KEYS and client.redis("LLEN", "list:key-3") == RECORDS // KEYS + 1


def test_redis_that_is_killed_and_comes_back_misses_nothing(start_local, files):
    local = start_local("input:2")
    with redis(files) as server:
        keys = f'type = "redis"\nurl = "redis://127.0.0.1:{server.port}"\nwrite = "stream"\nkey = "orders"'
        config = files / "one.toml"
        config.write_text(f'from = "input"\nstate = "one.db"\n[[output]]\n{keys}\n')
        put_all(local.client(), "input", records()[:300])
        with Run(files, local.endpoint, "run", "-c", config) as process:
            client = Client(server.port)
            wait_for("the first half", 60, lambda: client.redis("XLEN", "orders") >= 300)
            port, first = server.port, {json.loads(fields[1::2][fields[::2].index(b"data")])["n"] for _, fields in client.redis("XRANGE", "orders", "-", "+")}
            server.process.kill()
            server.process.wait()
            put_all(local.client(), "input", records()[300:])
            again = Server(files, "redis-server", ["--port", str(port), "--bind", "127.0.0.1", "--save", ""])
            again.port = port
            with again:
                client = Client(port)
                wait_for("the second half", 60, lambda: client.redis("XLEN", "orders") >= 300)
                second = {json.loads(fields[1::2][fields[::2].index(b"data")])["n"] for _, fields in client.redis("XRANGE", "orders", "-", "+")}
            assert process.stop() == 0, process.tail()
    assert first | second == set(range(RECORDS))


def test_memcached_has_the_newest_record_of_each_key_at_the_server_of_the_key(start_local, files):
    local = start_local("input:2")
    put_all(local.client(), "input", records() + [("a b", None, b"{}"), ("large", None, b"x" * ((1 << 20) - 20))])
    with memcached(files) as one, memcached(files) as two:
        run(files, local, f'type = "memcached"\nserver = ["127.0.0.1:{one.port}", "127.0.0.1:{two.port}"]\nttl = "1h"')
        clients = [Client(one.port), Client(two.port)]
        from hashlib import md5
        for key, number in newest().items():
            place = md5(key.encode()).digest()[0] * 2 // 256
            assert json.loads(clients[place].memcached(key))["n"] == number
            assert clients[1 - place].memcached(key) is None
    codes = {letter["key"]: letter["code"] for letter in map(json.loads, (files / "dead.jsonl").read_text().splitlines())}
    assert codes == {"a b": "BadKey", "large": "ValueTooLarge"}
