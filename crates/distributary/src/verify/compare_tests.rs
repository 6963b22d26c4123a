use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::rows::Prints;
use super::*;
use crate::walk::shard;

/// Shards of a stream with their parents, and the records of each: key and value.
type Stream<'a> = [(&'a str, &'a [&'a str], &'a [(&'a str, u8)])];

fn rows(stream: &Stream<'_>) -> (Sorted<RecordRow>, Ancestry, tempfile::TempDir) {
    let shards: Vec<_> = stream
        .iter()
        .map(|(id, parents, _)| shard(id, parents))
        .collect();
    let ancestry = Ancestry::new(&shards).unwrap();
    let hasher = Prints::new([1, 2, 3, 4]);
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(200, dir.path());
    for (id, _, records) in stream {
        let rank = ancestry
            .shards()
            .iter()
            .position(|s| s.as_str() == *id)
            .unwrap();
        for (i, (key, value)) in records.iter().enumerate() {
            let print = hasher.record(Some(key), &[*value]);
            sorter
                .push(RecordRow {
                    print,
                    place: Place::new(rank, i as u64),
                    key: hasher.key(Some(key)),
                })
                .unwrap();
        }
    }
    (sorter.finish().unwrap(), ancestry, dir)
}

fn compared(source: &Stream<'_>, copy: &Stream<'_>) -> Comparison {
    let (source, source_shards, dir) = rows(source);
    let (copy, copy_shards, _dir) = rows(copy);
    let limits = Limits {
        memory: 300,
        dir: dir.path().to_owned(),
        examples: 3,
    };
    let mut last = 0;
    let found = compare(
        (&source, &source_shards),
        (&copy, &copy_shards),
        &limits,
        &mut |n| {
            assert!(n >= last);
            last = n;
        },
    )
    .unwrap();
    assert_eq!(
        last,
        2 * (source.len() + copy.len()),
        "progress ends where it should"
    );
    found
}

/// Missing, extra, repeated, out of order.
fn counts(c: &Comparison) -> [u64; 4] {
    [Kind::Missing, Kind::Extra, Kind::Repeated, Kind::OutOfOrder].map(|k| c.of(k).count)
}

/// One key in one shard on both sides.
fn line(source: &str, copy: &str) -> [u64; 4] {
    let records = |text: &str| text.bytes().map(|b| ("k", b)).collect::<Vec<_>>();
    counts(&compared(
        &[("s", &[], &records(source))],
        &[("o", &[], &records(copy))],
    ))
}

#[test]
fn one_key() {
    for (source, copy, expected) in [
        ("", "", [0, 0, 0, 0]),
        ("abcd", "abcd", [0, 0, 0, 0]),
        ("abcd", "abd", [1, 0, 0, 0]),
        ("abcd", "", [4, 0, 0, 0]),
        ("", "ab", [0, 2, 0, 0]),
        ("abcd", "abxcd", [0, 1, 0, 0]),
        ("abcd", "acbd", [0, 0, 0, 1]),
        ("abcd", "dabc", [0, 0, 0, 1]),
        ("abcd", "bcda", [0, 0, 0, 3]),
        ("abcd", "dcba", [0, 0, 0, 3]),
        // Sent again after a failure: repeats, not disorder.
        ("abcd", "abcbcd", [0, 0, 2, 0]),
        ("abcd", "acdbcd", [0, 0, 2, 0]),
        ("abcd", "abcdabcd", [0, 0, 4, 0]),
        // The last occurrence counts: a after b is disorder though "ab" came before.
        ("ab", "aba", [0, 0, 1, 1]),
        // Equal records are legitimate.
        ("xyx", "xyx", [0, 0, 0, 0]),
        ("xyx", "xxy", [0, 0, 0, 1]),
        ("xyx", "yxx", [0, 0, 0, 1]),
        ("xxxx", "xxxx", [0, 0, 0, 0]),
        ("xxx", "xx", [1, 0, 0, 0]),
        ("xx", "xxxxx", [0, 0, 3, 0]),
        // Sent again from z on: x stands for itself where it can.
        ("xyzx", "xyzxzx", [0, 0, 2, 0]),
        ("xyzx", "xxyzx", [0, 0, 1, 0]),
        ("xyx", "yxxx", [0, 0, 1, 1]),
        // Which x is missing nobody can say, so x says nothing about order.
        ("xyx", "yx", [1, 0, 0, 0]),
        ("xyx", "xy", [1, 0, 0, 0]),
        ("xaxb", "bxa", [1, 0, 0, 1]),
    ] {
        assert_eq!(line(source, copy), expected, "{source} copied as {copy}");
    }
}

#[test]
fn keys_are_judged_by_themselves() {
    let source = [("s", &[][..], &[("a", 1), ("b", 1), ("a", 2), ("b", 2)][..])];
    let copy = [("o", &[][..], &[("b", 1), ("b", 2), ("a", 1), ("a", 2)][..])];
    assert_eq!(counts(&compared(&source, &copy)), [0; 4]);
    // The same data under another key is another record.
    let copy = [("o", &[][..], &[("a", 1), ("a", 2), ("b", 1), ("c", 2)][..])];
    assert_eq!(counts(&compared(&source, &copy)), [1, 1, 0, 0]);
}

#[test]
fn records_without_a_key_have_no_order() {
    let source = [("s", &[][..], &[("", 1), ("", 2), ("", 3)][..])];
    let copy = [("o", &[][..], &[("", 3), ("", 1), ("", 2)][..])];
    assert_eq!(counts(&compared(&source, &copy)), [0; 4]);
}

#[test]
fn children_come_after_their_parents() {
    let source: &Stream<'_> = &[
        ("z", &[], &[("k", 1), ("k", 2)]),
        ("a", &["z"], &[("k", 3), ("k", 2)]),
    ];
    assert_eq!(
        counts(&compared(
            source,
            &[("o", &[], &[("k", 1), ("k", 2), ("k", 3), ("k", 2)])]
        )),
        [0; 4]
    );
    assert_eq!(
        counts(&compared(
            source,
            &[("o", &[], &[("k", 3), ("k", 2), ("k", 1), ("k", 2)])]
        )),
        [0, 0, 0, 2]
    );
    // The copy was resharded too.
    let copy: &Stream<'_> = &[
        ("y", &[], &[("k", 1)]),
        ("b", &["y"], &[("k", 2), ("k", 3), ("k", 2)]),
    ];
    assert_eq!(counts(&compared(source, copy)), [0; 4]);
    assert_eq!(counts(&compared(copy, source)), [0; 4]);
    let wrong: &Stream<'_> = &[
        ("y", &["b"], &[("k", 1)]),
        ("b", &[], &[("k", 2), ("k", 3), ("k", 2)]),
    ];
    assert_ne!(counts(&compared(source, wrong))[3], 0);
}

#[test]
fn a_key_in_shards_side_by_side_is_judged_within_each() {
    // By explicit hash keys, k lies in both shards; between them there is no order.
    let source: &Stream<'_> = &[
        ("a", &[], &[("k", 1), ("k", 2)]),
        ("b", &[], &[("k", 3), ("k", 4)]),
    ];
    for copy in [[3, 1, 4, 2], [1, 2, 3, 4], [3, 4, 1, 2]] {
        let copy = copy.map(|v| ("k", v));
        assert_eq!(
            counts(&compared(source, &[("o", &[], &copy)])),
            [0; 4],
            "{copy:?}"
        );
    }
    assert_eq!(
        counts(&compared(
            source,
            &[("o", &[], &[("k", 3), ("k", 2), ("k", 1), ("k", 4)])]
        )),
        [0, 0, 0, 1]
    );
    // Side by side in the copy only: nothing between its shards, everything within them.
    let one: &Stream<'_> = &[("a", &[], &[("k", 1), ("k", 2), ("k", 3)])];
    assert_eq!(
        counts(&compared(
            one,
            &[("o", &[], &[("k", 2), ("k", 3)]), ("p", &[], &[("k", 1)])]
        )),
        [0; 4]
    );
    assert_eq!(
        counts(&compared(
            one,
            &[("o", &[], &[("k", 3), ("k", 2)]), ("p", &[], &[("k", 1)])]
        )),
        [0, 0, 0, 1]
    );
}

#[test]
fn the_first_of_each_difference_is_kept() {
    let source: &Stream<'_> = &[
        (
            "a",
            &[],
            &[("k", 1), ("k", 2), ("l", 9), ("k", 3), ("k", 4)],
        ),
        ("b", &[], &[("m", 1), ("m", 2)]),
    ];
    let copy: &Stream<'_> = &[(
        "o",
        &[],
        &[("x", 1), ("l", 9), ("l", 9), ("x", 2), ("m", 2), ("m", 1)],
    )];
    let found = compared(source, copy);
    assert_eq!(counts(&found), [4, 2, 1, 1]);
    let places = |kind| {
        found
            .of(kind)
            .first
            .iter()
            .map(|p| (p.shard(), p.ordinal()))
            .collect::<Vec<_>>()
    };
    assert_eq!(places(Kind::Missing), [(0, 0), (0, 1), (0, 3)]);
    assert_eq!(places(Kind::Extra), [(0, 0), (0, 3)]);
    assert_eq!(places(Kind::Repeated), [(0, 2)]);
    assert_eq!(places(Kind::OutOfOrder), [(0, 4)]);
}

/// The rule of the module's documentation, by trying every way to find the source in the copy.
fn in_order(source: &[u8], copy: &[u8]) -> bool {
    fn find(source: &[u8], copy: &[u8], whole: &[u8], taken: &mut Vec<usize>) -> bool {
        let Some((value, rest)) = source.split_last() else {
            // Each value's last occurrence in the copy must stand for its last in the source. `taken` runs backwards.
            return (0..whole.len()).all(|i| {
                whole[i + 1..].contains(&whole[i])
                    || taken
                        .iter()
                        .find(|t| whole[**t] == whole[i])
                        .is_some_and(|t| *t == i)
            });
        };
        (0..copy.len()).filter(|i| copy[*i] == *value).any(|i| {
            taken.push(i);
            let fits = find(rest, &copy[..i], whole, taken);
            taken.pop();
            fits
        })
    }
    find(source, copy, copy, &mut Vec::new())
}

fn count(of: &[u8]) -> BTreeMap<u8, i64> {
    let mut all = BTreeMap::new();
    for v in of {
        *all.entry(*v).or_default() += 1;
    }
    all
}

proptest! {
    #[test]
    fn agrees_with_the_rule_taken_literally(
        source in prop::collection::vec(0u8..4, 0..7), copy in prop::collection::vec(0u8..5, 0..9),
    ) {
        let records = |values: &[u8]| values.iter().map(|v| ("k", *v)).collect::<Vec<_>>();
        let found = compared(&[("s", &[], &records(&source))], &[("o", &[], &records(&copy))]);
        let (a, b) = (count(&source), count(&copy));
        let in_a = |v: &u8| a.get(v).copied().unwrap_or(0);
        let in_b = |v: &u8| b.get(v).copied().unwrap_or(0);
        let sum = |it: &mut dyn Iterator<Item = i64>| it.filter(|n| *n > 0).sum::<i64>() as u64;
        prop_assert_eq!(found.of(Kind::Missing).count, sum(&mut a.keys().map(|v| in_a(v) - in_b(v))));
        prop_assert_eq!(found.of(Kind::Extra).count, sum(&mut b.keys().filter(|v| in_a(v) == 0).map(in_b)));
        prop_assert_eq!(
            found.of(Kind::Repeated).count,
            sum(&mut b.keys().filter(|v| in_a(v) > 0).map(|v| in_b(v) - in_a(v)))
        );
        let judged = |v: &u8| in_a(v) > 0 && in_b(v) >= in_a(v);
        let (s, c): (Vec<u8>, Vec<u8>) = (
            source.iter().copied().filter(judged).collect(),
            copy.iter().copied().filter(judged).collect(),
        );
        prop_assert_eq!(found.of(Kind::OutOfOrder).count == 0, in_order(&s, &c), "{:?} as {:?}", s, c);
    }

    /// A copy that is cut off now and then: some of the last stretch did not get through, and everything from some record
    /// on, or before the first of those, is sent again.
    #[test]
    fn sending_again_is_never_disorder(
        source in prop::collection::vec(0u8..5, 1..40),
        cuts in prop::collection::vec((0usize..40, 0usize..40, any::<u64>()), 0..6),
    ) {
        let mut copy = Vec::new();
        let mut at = 0;
        for (upto, back, lost) in cuts {
            let upto = upto.clamp(at, source.len());
            let through = |i: &usize| lost >> (i % 64) & 1 == 0;
            copy.extend((at..upto).filter(through).map(|i| source[i]));
            let first_lost = (at..upto).find(|i| !through(i)).unwrap_or(upto);
            at = back.min(first_lost);
        }
        copy.extend_from_slice(&source[at..]);
        let records = |values: &[u8]| values.iter().map(|v| ("k", *v)).collect::<Vec<_>>();
        let found = compared(&[("s", &[], &records(&source))], &[("o", &[], &records(&copy))]);
        prop_assert_eq!(counts(&found), [0, 0, (copy.len() - source.len()) as u64, 0]);
    }
}
