"""Event patterns against AWS's own matcher, Event Ruler: generated patterns and events must get the same answers."""

import json
import os
import random
import subprocess
from pathlib import Path

DEPS = Path(os.environ["INTEROP_DEPS"])
PATTERNS = 1_000
EVENTS = 24

TEXTS = ["", "x", "xy", "yes", "YES", "Yes", "é", "É", "ß", "SS", "a*b", "a\\b", "aXXb", "10.0.0.1", "010.0.0.1", "10.0.0.255", "10.1.0.0",
         "::1", "0:0:0:0:0:0:0:1", "::ffff:a00:1", "fe80::1", "1.2.3", "5", "true", "null", "pre-x-suf", "PRE-suf"]
NUMBERS = ["0", "-0", "-0.0", "1", "1.0", "1e0", "10E-1", "300", "300.0", "3.0e2", "0.1", "-5", "1.5", "5e9", "5000000000", "9007199254740993",
           "9007199254740992", "123456789012345678901234567890", "0.1000000000000000055511151231257827", "1e308", "-1e-7"]
NAMES = ["a", "b", "c"]
PATHS = [*NAMES, "a.b", "b.c"]
# Not "0.0.0.0/0": to Event Ruler 2.0.1 that holds addresses of IPv6 and numbers, too.
CIDRS = ["10.0.0.0/8", "10.0.0.7/24", "10.0.0.1/31", "::/64", "fe80::/10"]
WILDCARDS = ["*", "a*b", "*es", "x*", "*-x-*", "a\\*b", "a\\\\b", "y?s", "x"]
# A pattern's text, and the words in Event Ruler's or our refusal do not matter: that it is refused does.
BAD = ['{}', '{"a": []}', '{"a": 1}', '{"a": "x"}', '{"a": {}}', '[]', '{"a": [[1]]}', '{"a": [{}]}', '{"a": [{"regex": "x"}]}',
       '{"a": [{"prefix": 1}]}', '{"a": [{"prefix": "x", "suffix": "y"}]}', '{"a": [{"suffix": {"prefix": "x"}}]}',
       '{"a": [{"exists": "true"}]}', '{"a": [{"exists": null}]}', '{"a": [{"cidr": "10.0.0.1"}]}', '{"a": [{"cidr": "10.0.0.1/32"}]}',
       '{"a": [{"cidr": "x/8"}]}', '{"a": [{"cidr": "::/128"}]}', '{"a": [{"wildcard": "a**b"}]}', '{"a": [{"wildcard": "a\\\\b"}]}',
       '{"a": [{"anything-but": []}]}', '{"a": [{"anything-but": null}]}', '{"a": [{"anything-but": true}]}', '{"a": [{"anything-but": [1, "x"]}]}',
       '{"a": [{"anything-but": [null]}]}', '{"a": [{"anything-but": {"prefix": ""}}]}', '{"a": [{"anything-but": {"suffix": ""}}]}',
       '{"a": [{"anything-but": {"numeric": [">", 1]}}]}', '{"a": [{"anything-but": {"prefix": 1}}]}',
       '{"a": [{"numeric": []}]}', '{"a": [{"numeric": ["=", "1"]}]}', '{"a": [{"numeric": ["!", 1]}]}', '{"a": [{"numeric": [">", 2, "<", 1]}]}',
       '{"a": [{"numeric": [">", 1, "<", 1]}]}', '{"a": [{"numeric": ["<", 2, ">", 1]}]}', '{"a": [{"numeric": ["=", 1, "<", 2]}]}',
       '{"a": [{"numeric": [">", 1, "<"]}]}', '{"a": [{"equals-ignore-case": ["x"]}]}', '{"$or": []}', '{"$or": [{"a": [1]}]}',
       '{"$or": [{"a": [1]}, 1]}', '{"$or": {"a": [1]}}', '{"$or": [{"a": [1]}, {"prefix": [1]}]}', '{"$or": [{"a": [1]}, {}]}', '{"a": [1]', 'x']


def text(chance):
    return json.dumps(chance.choice(TEXTS), ensure_ascii=False)


def value(chance, depth):
    """JSON text: numbers stay as written."""
    kind = chance.random()
    if kind < 0.35:
        return text(chance)
    if kind < 0.6:
        return chance.choice(NUMBERS)
    if kind < 0.7 or depth == 0:
        return chance.choice(["true", "false", "null"])
    if kind < 0.85:
        return "[" + ", ".join(value(chance, depth - 1) for _ in range(chance.randrange(4))) + "]"
    return event(chance, depth - 1)


def event(chance, depth=3):
    names = chance.sample([*PATHS, "other"], chance.randrange(0 if depth < 3 else 1, 4))
    return "{" + ", ".join(f'"{name}": {value(chance, depth)}' for name in names) + "}"


def alternative(chance):
    word = chance.choice(["text", "number", "word", "prefix", "suffix", "ends-no-case", "equals-ignore-case", "wildcard", "but", "but-list", "but-numbers",
                          "but-test", "numeric", "exists", "absent", "cidr", "exactly"])
    exact = [number for number in NUMBERS if float(number) in (0, 1, 300, 0.1, -5, 1.5, 5e9, 1e308, -1e-7) and len(number) < 12]
    match word:
        case "text": return text(chance)
        case "number": return chance.choice(NUMBERS)
        case "word": return chance.choice(["true", "false", "null"])
        case "ends-no-case": return f'{{"{chance.choice(["prefix", "suffix"])}": {{"equals-ignore-case": {json.dumps(chance.choice(["y", "ES", "é", "pre", "-SUF"]))}}}}}'
        case "prefix" | "suffix" | "equals-ignore-case" | "exactly": return f'{{"{word}": {text(chance)}}}'
        case "wildcard": return f'{{"wildcard": {json.dumps(chance.choice(WILDCARDS))}}}'
        case "but": return f'{{"anything-but": {text(chance)}}}'
        case "but-list": return f'{{"anything-but": [{text(chance)}, {text(chance)}]}}'
        case "but-numbers": return f'{{"anything-but": [{chance.choice(exact)}, {chance.choice(exact)}]}}'
        case "but-test":
            test = chance.choice(["prefix", "suffix", "equals-ignore-case", "wildcard"])
            texts = WILDCARDS if test == "wildcard" else ["x", "y", "é", "YES", "1"]
            one, two = json.dumps(chance.choice(texts)), json.dumps(chance.choice(texts))
            return f'{{"anything-but": {{"{test}": {chance.choice([one, f"[{one}, {two}]"])}}}}}'
        case "numeric":
            low, high = sorted(chance.sample([-5, 0, 0.1, 1, 1.5, 300, 5e9], 2))
            return '{"numeric": ' + chance.choice([f'["{chance.choice(["=", "<", "<=", ">", ">="])}", {chance.choice(exact)}]',
                                                   f'["{chance.choice([">", ">="])}", {low}, "{chance.choice(["<", "<="])}", {high}]']) + "}"
        case "exists": return '{"exists": true}'
        case "absent": return '{"exists": false}'
        case "cidr": return f'{{"cidr": "{chance.choice(CIDRS)}"}}'


def pattern(chance, depth=2):
    members = []
    for name in chance.sample(PATHS, chance.choice([1, 1, 2])):
        if depth and chance.random() < 0.35:
            members.append(f'"{name}": {pattern(chance, depth - 1)}')
        else:
            members.append(f'"{name}": [{", ".join(alternative(chance) for _ in range(chance.choice([1, 1, 2])))}]')
    if depth and chance.random() < 0.15:
        members.append(f'"$or": [{pattern(chance, depth - 1)}, {pattern(chance, depth - 1)}]')
    return "{" + ", ".join(members) + "}"


def ruler(cases):
    classes = f'{DEPS / "ruler" / "classes"}:{(DEPS / "ruler" / "classpath").read_text().strip()}'
    lines = "".join(json.dumps({"pattern": pattern, "events": events}) + "\n" for pattern, events in cases)
    done = subprocess.run(["java", "-Xmx256m", "-cp", classes, "distributary.interop.Ruler"], input=lines, text=True, capture_output=True, timeout=300, check=True)
    return done.stdout.splitlines()


def ours(files, pattern, events):
    file = files / "pattern.json"
    # Members of the data are matched as members of an event.
    file.write_text(f'{{"data": {pattern}}}')
    done = subprocess.run([os.environ["DISTRIBUTARY_BIN"], "filter", "test", "--pattern", file, "-"], input="".join(event + "\n" for event in events),
                          text=True, capture_output=True, timeout=60)
    if done.returncode == 2:
        return "bad: " + done.stderr
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_generated_patterns_and_events(files):
    chance = random.Random(7)
    cases = [(pattern(chance), [event(chance) for _ in range(EVENTS)]) for _ in range(PATTERNS)] + [(bad, []) for bad in BAD]
    expected = ruler(cases)
    assert len(expected) == len(cases)

    different, words = [], {"match": 0, "no": 0}
    for (one, events), theirs in zip(cases, expected):
        mine = ours(files, one, events)
        if theirs.startswith("bad: ") or mine.startswith("bad: "):
            if theirs.startswith("bad: ") != mine.startswith("bad: "):
                different.append((one, theirs, mine))
            continue
        for event_, a, b in zip(events, theirs.split(), mine.split(), strict=True):
            words[a] += 1
            if a != b:
                different.append((one, event_, f"Event Ruler: {a}, distributary: {b}"))
    print(f"{PATTERNS} patterns, {words['match']} matches, {words['no']} others, {len(BAD)} patterns that are not valid")
    assert not different, "\n".join(map(str, different[:20]))
    assert words["match"] > PATTERNS and words["no"] > PATTERNS
