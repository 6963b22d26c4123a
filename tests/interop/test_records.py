"""The comparison that the other tests lean on finds what it must find."""

from records import Content, compare, every_kind


def content(**keys):
    return Content({k: list(v) for k, v in keys.items()}, sum(map(len, keys.values())), 0)


def test_the_comparison_finds_a_missing_an_extra_a_repeated_and_a_reordered_record():
    source = content(a="123", b="xx")
    assert str(compare(source, source)) == "0 missing, 0 extra, 0 repeats, 0 keys out of order"
    assert compare(source, content(a="12", b="xx")).missing == 1
    assert compare(source, content(a="123", b="x")).missing == 1, "equal records count each"
    assert compare(source, content(a="1234", b="xx")).extra == 1
    assert compare(source, content(a="123", b="xx", c="1")).extra == 1
    again = compare(source, content(a="12123", b="xx"))
    assert (again.repeats, again.out_of_order) == (2, []), "a replay in order is a repeat"
    assert compare(source, content(a="132", b="xx")).out_of_order == ["a"]
    assert compare(source, content(a="1323", b="xx")).out_of_order == [], "the last occurrence counts"
    assert compare(source, content(a="1213", b="xx")).out_of_order == ["a"], "1 went again without the 2 after it"


def test_the_made_up_records_are_of_every_kind_and_always_the_same():
    made = every_kind(7, 300)
    assert made == every_kind(7, 300) and len(made) == 300
    sizes = [len(k.encode()) + len(d) for k, _, d in made]
    assert max(sizes) == 1 << 20 and any(d == b"" for _, _, d in made)
    assert any(h for _, h, _ in made) and any(not k.isascii() for k, _, _ in made)
