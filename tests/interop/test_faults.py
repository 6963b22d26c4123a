"""A tenth of the entries fails and answers are lost after the write: what each order mode promises holds in its output."""

import json
import re
import urllib.request
from collections import Counter

from conftest import LONG
from distributary import finished
from records import compare, put_all, read_stream

RECORDS = 20_000 if LONG else 4_000
# One output for each mode, named after it.
MODES = ["strict", "resend", "unordered"]
THROTTLED, FAILED = 0.05, 0.05
# Each output needs some, and `strict` makes many more requests than the others.
LOST = {"strict": 0.01, "resend": 0.05, "unordered": 0.2}


def add_rule(server, stream, action):
    rule = {"select": {"operations": ["PutRecords"], "stream": stream}, **action}
    request = urllib.request.Request(f"{server.endpoint}/_distributary/faults", json.dumps(rule).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]


def applied(server):
    with urllib.request.urlopen(f"{server.endpoint}/_distributary/faults") as answer:
        return {rule["id"]: rule["applied"] for rule in json.load(answer)["rules"]}


def steps(source, output):
    """How far each record of a key stands behind the one before it, in places of the source: 1 where all went well, 0 where a
    record was sent again, less where there was a step back."""
    found = Counter()
    for key, prints in output.by_key.items():
        place = {fingerprint: i for i, fingerprint in enumerate(source.by_key[key])}
        places = [place[fingerprint] for fingerprint in prints]
        found.update(b - a for a, b in zip(places, places[1:]))
    return found


def test_order_holds_by_mode_where_a_tenth_of_the_entries_fails_and_answers_are_lost(start_local, files, measured):
    local = start_local("input:3", "strict:1", "resend:2", "unordered:3", options=["--seed", "1"])
    client = local.client()
    # One record in three is of one key, and the rest of fifty.
    keys = ["hot" if i % 3 == 0 else f"key-{i % 50}" for i in range(RECORDS)]
    put_all(client, "input", [(key, None, f"record {i}".encode()) for i, key in enumerate(keys)])
    rules = {}
    for mode in MODES:
        add_rule(local, mode, {"action": {"throttle_entries": {"probability": THROTTLED}}})
        add_rule(local, mode, {"action": {"fail_entries": {"probability": FAILED}}})
        rules[mode] = add_rule(local, mode, {"action": {"lose_reply": {}}, "probability": LOST[mode]})
    config = files / "modes.toml"
    config.write_text('from = "input"\nstate = "modes.db"\n' +
                      "".join(f'[[output]]\nstream = "{mode}"\norder = "{mode}"\n' for mode in MODES))
    said, took = finished(files, local.endpoint, "run", "-c", config, "--until-caught-up", timeout=900)
    lost = applied(local)
    source = read_stream(client, "input")
    assert source.records == RECORDS
    for mode in MODES:
        assert lost[rules[mode]] > 0, f"{mode}: no answer was lost"
        output = read_stream(client, mode)
        difference = compare(source, output)
        assert (difference.missing, difference.extra) == (0, 0), f"{mode}: {difference}"
        there = steps(source, output)
        if mode == "strict":
            assert not there.keys() - {0, 1}, f"a record of a key is out of order: {there}"
        if mode != "unordered":
            assert not difference.out_of_order, f"{mode}: {difference}"
        counted = int(re.search(rf"at the end output={mode} .*?repeats=(\d+)", said).group(1))
        assert difference.repeats <= counted, f"{mode}: {difference.repeats} repeats, {counted} counted"
        measured(f"{mode}: {RECORDS} records, {lost[rules[mode]]} answers lost: none missing, {difference.repeats} repeats "
                 f"({counted} counted), {sum(n for step, n in there.items() if step < 0)} steps back within a key, "
                 f"{len(difference.out_of_order)} keys whose last occurrences are out of order")
    measured(f"all three in {took:.1f} s")
