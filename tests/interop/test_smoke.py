"""The same check of every operation by three SDKs against `distributary local`, and by boto3 against five servers of others: the
table in docs/LOCAL-INTEROP.md is made from these runs."""

import functools
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import boto3_smoke
from distributary import Local
from servers import DEPS, HERE, OTHERS, clean_env

TABLE = HERE.parents[1] / "docs" / "LOCAL-INTEROP.md"
NAMES = [name for name, _ in boto3_smoke.OPERATIONS]
ENDED = 180
VERSIONS = {"moto": "5.2.5", "ministack": "1.5.33", "kinesis-local": "0.6.2", "kinesalite": "3.3.3", "ferrokinesis": "0.7.0"}
WITH_FERROKINESIS = os.environ.get("INTEROP_FERROKINESIS") == "1"

# Who speaks to `distributary local`, and how: (SDK, over TLS).
OURS = {
    "boto3, HTTP/1.1": ("boto3", False),
    "boto3, TLS": ("boto3", True),
    "JavaScript SDK v3, HTTP/2 (h2c)": ("js", False),
    "JavaScript SDK v3, HTTP/2 over TLS": ("js", True),
    "Rust SDK, HTTP/1.1": ("rust", False),
    "Rust SDK, TLS": ("rust", True),
}
THEIRS = [name for name in OTHERS if name != "ferrokinesis" or WITH_FERROKINESIS]


def by_boto3(server, authority):
    return boto3_smoke.run(server.client(read_timeout=15, verify=str(authority) if authority else False))


def by_javascript(server, authority):
    env = clean_env(INTEROP_NODE=DEPS / "node", **({"NODE_EXTRA_CA_CERTS": authority} if authority else {}))
    return answered(["node", "--no-warnings", HERE / "smoke.mjs", server.endpoint], env)


def by_rust(server, authority):
    return answered([os.environ["RUST_SMOKE"], server.endpoint, *([authority] if authority else [])], clean_env())


def answered(command, env):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, timeout=ENDED)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


BY = {"boto3": by_boto3, "js": by_javascript, "rust": by_rust}


@functools.cache
def ours(who):
    sdk, tls = OURS[who]
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        authority = Path(folder) / "ca.pem"
        server = Local(folder, options=["--tls", "--tls-cert-out", authority] if tls else [])
        with server:
            return timed(lambda: BY[sdk](server, authority if tls else None))


@functools.cache
def theirs(name):
    with tempfile.TemporaryDirectory(prefix="interop-") as folder, OTHERS[name](folder) as server:
        return timed(lambda: by_boto3(server, None))


def timed(smoke):
    began = time.monotonic()
    results = smoke()
    assert sorted(results) == sorted(NAMES), set(results) ^ set(NAMES)
    return results, time.monotonic() - began


def passed(results):
    return sum(why is None for why in results.values())


@pytest.mark.parametrize("who", OURS)
def test_every_operation_works_by(who, measured):
    results, took = ours(who)
    measured(f"{passed(results)} of {len(NAMES)} operations in {took:.1f} s")
    assert passed(results) == len(NAMES), {op: why for op, why in results.items() if why is not None}


@pytest.mark.parametrize("name", THEIRS)
def test_the_same_smoke_tells_what_another_server_does(name, measured):
    results, took = theirs(name)
    measured(f"{passed(results)} of {len(NAMES)} operations in {took:.1f} s")
    # It must be able to do the plainest thing at all, or the smoke is broken and not the server.
    assert results["MergeShards"] is None or results["DescribeLimits"] is None or results["AddTagsToStream"] is None


def table():
    """The page, from the results alone."""
    columns = [("**distributary local**", None)] + [(f"{n} {VERSIONS[n]}", n) for n in THEIRS]
    lines = [
        "# What works against `distributary local`, and against other local servers",
        "",
        "Made by `INTEROP_WRITE_TABLE=1 tests/interop/run -k smoke`, from a run; not edited by hand. One check for each operation",
        "(`tests/interop/boto3_smoke.py`, `smoke.mjs`, `rust-smoke`): it makes what it needs, calls by name and by ARN, and compares what",
        "comes back with what AWS documents. A number leads to the reason below the table.",
        "",
        "By each SDK against `distributary local`:",
        "",
        "| client | operations that pass |",
        "| --- | --- |",
        *[f"| {who} | {passed(ours(who)[0])} of {len(NAMES)} |" for who in OURS],
        "",
        "By boto3 against each server (`distributary local`: by all three SDKs, plain and over TLS):",
        "",
        "| operation | " + " | ".join(title for title, _ in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    notes = []
    for operation in NAMES:
        cells = []
        for _, name in columns:
            if name is None:
                failing = [f"{who}: {ours(who)[0][operation]}" for who in OURS if ours(who)[0][operation] is not None]
                why = "; ".join(failing) or None
            else:
                why = theirs(name)[0][operation]
            if why is None:
                cells.append("yes")
            else:
                notes.append(f"{operation}, {name or 'distributary local'}: {why}")
                cells.append(f"no ({len(notes)})")
        lines.append(f"| {operation} | " + " | ".join(cells) + " |")
    counts = [min(passed(ours(who)[0]) for who in OURS)] + [passed(theirs(n)[0]) for n in THEIRS]
    lines.append("| **pass** | " + " | ".join(f"**{c} of {len(NAMES)}**" for c in counts) + " |")
    lines += ["", "Why not:", "", *[f"{i}. {stable(note)}" for i, note in enumerate(notes, 1)]]
    if not WITH_FERROKINESIS:
        lines += ["", "ferrokinesis is left out of this run (`INTEROP_FERROKINESIS=1` builds and adds it)."]
    return "\n".join(lines) + "\n"


def stable(note):
    """The reason without what differs from run to run, and safe in Markdown."""
    for mark in ("smoke-", "arn:"):
        head, found, rest = note.partition(mark)
        if found:
            note = head + mark + "…" + "".join(rest.partition(" ")[1:])
    return note.replace("|", "\\|").replace("<", "&lt;")


def test_the_table_in_the_docs_is_what_this_run_shows(measured):
    page = table()
    if os.environ.get("INTEROP_WRITE_TABLE") == "1":
        TABLE.write_text(page)
        measured(f"wrote {TABLE.name}")
        return
    shown = TABLE.read_text()

    def rows(text):
        # Our own column, and who passes how much: what we promise. What others do may vary with their timing.
        return {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")}

    assert rows(shown) == rows(page), "docs/LOCAL-INTEROP.md is out of date: INTEROP_WRITE_TABLE=1 tests/interop/run -k smoke"
    if shown != page:
        differing = sorted(set(page.splitlines()) - set(shown.splitlines()))
        measured(f"others answered differently than the page says, {len(differing)} lines: {differing[:3]}")
