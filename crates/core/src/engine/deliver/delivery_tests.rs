//! Deliveries against a model output that fails at random: what stands at the output in the end, by
//! order mode.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "a batch of one chunk is a slice of one range"
)]

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::clock::Millis;
use crate::record::{DataForm, RecordIndex, Span};

/// A batch of records with these keys (`None`: no key), numbered from `first`.
fn batch(first: usize, keys: &[Option<u8>]) -> Batch {
    let mut buffer = Vec::new();
    let mut put = |text: &[u8]| {
        let span = Span {
            start: u32::try_from(buffer.len()).unwrap(),
            len: u32::try_from(text.len()).unwrap(),
        };
        buffer.extend_from_slice(text);
        span
    };
    let records = keys
        .iter()
        .enumerate()
        .map(|(i, key)| RecordIndex {
            sequence: put((first + i + 1).to_string().as_bytes()),
            key: key.map(|k| put(format!("key-{k}").as_bytes())),
            data: put(b""),
            arrival: Millis(0),
        })
        .collect();
    Batch::new(
        crate::batch::test_origin(),
        Bytes::from(buffer),
        DataForm::Raw,
        records,
    )
    .unwrap()
}

fn trouble() -> Trouble {
    Trouble::new(TroubleKind::Unavailable, "model")
}

/// Small chunks, so that a batch has several.
fn chunks(len: usize) -> Vec<Range<usize>> {
    (0..len)
        .step_by(7)
        .map(|start| start..(start + 7).min(len))
        .collect()
}

/// What the model output does with one request.
#[derive(Clone, Debug)]
enum Fault {
    None,
    /// Each record whose bit is set is not taken.
    Entries(u64),
    Rejected,
    /// Only records whose bit is set are written, and nobody is told.
    Unknown(u64),
    /// An answer of the wrong length; all written.
    Short,
}

/// The fault of one request, whether the lane detaches after the request, and the number of records
/// that have no room before it.
type Step = (Fault, bool, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![
        3 => Just(Fault::None),
        4 => any::<u64>().prop_map(Fault::Entries),
        1 => Just(Fault::Rejected),
        2 => any::<u64>().prop_map(Fault::Unknown),
        1 => Just(Fault::Short),
    ];
    let held = prop_oneof![2 => Just(0), 1 => any::<u64>(), 1 => Just(u64::MAX)];
    proptest::collection::vec((fault, any::<bool>(), held), 0..40)
}

/// One request against the model.
fn serve(fault: &Fault, picks: &Picks, first: usize, log: &mut Vec<usize>) -> Outcome {
    let has = |bits: u64, n: usize| bits >> (n % 64) & 1 == 1;
    match fault {
        Fault::None | Fault::Short => {
            log.extend(picks.iter().map(|i| first + i));
            if matches!(fault, Fault::None) {
                Outcome::Durable
            } else {
                Outcome::PerRecord(Vec::new())
            }
        }
        Fault::Entries(bits) => Outcome::PerRecord(
            picks
                .iter()
                .enumerate()
                .map(|(n, i)| {
                    if has(*bits, n) {
                        return Verdict::Retry(trouble());
                    }
                    log.push(first + i);
                    Verdict::Durable
                })
                .collect(),
        ),
        Fault::Rejected => Outcome::Rejected(trouble()),
        Fault::Unknown(bits) => {
            log.extend(
                picks
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| has(*bits, *n))
                    .map(|(_, i)| first + i),
            );
            Outcome::Unknown(trouble())
        }
    }
}

/// Delivers all of `keys` in batches of `sizes`, cut anew whenever the lane detaches; the output's
/// log.
fn deliver(order: Order, keys: &[Option<u8>], sizes: &[usize], steps: &[Step]) -> Vec<usize> {
    let (mut log, mut durable, mut carried) = (Vec::new(), 0, Acked::default());
    let mut steps = steps.iter();
    let mut sizes = sizes.iter().cycle();
    while durable < keys.len() {
        // A re-read may begin before the cursor, as a window's batch does.
        let first = durable.saturating_sub(sizes.next().unwrap() % 3);
        let end = (durable + sizes.next().unwrap()).min(keys.len());
        let batch = batch(first, &keys[first..end]);
        let chunks = chunks(batch.len());
        let mut delivery = Delivery::new(order, Takes::Durably, &batch, durable - first, &carried);
        while let Next::Send { picks } = delivery.next(&chunks) {
            assert!(!picks.is_empty(), "a request without records");
            if order == Order::Strict {
                let mut seen = BTreeMap::new();
                for i in picks.iter() {
                    let key = batch.record(i).key;
                    assert!(
                        key.is_none_or(|k| seen.insert(k.to_owned(), i).is_none()),
                        "two records of a key at once"
                    );
                }
            }
            let (fault, detach, bits) = steps.next().cloned().unwrap_or((Fault::None, false, 0));
            let held: Vec<usize> = picks.iter().filter(|i| bits >> (i % 64) & 1 == 1).collect();
            let rest = delivery.without(&picks, &held);
            assert!(
                rest.iter()
                    .all(|i| picks.iter().any(|p| p == i) && !held.contains(&i)),
                "{rest:?}"
            );
            if rest.is_empty() {
                break;
            }
            let picks = rest;
            let outcome = serve(&fault, &picks, first, &mut log);
            delivery.answer(&picks, &outcome);
            for n in first..first + delivery.settled_through() {
                assert!(
                    log.contains(&n),
                    "record {n} is called durable and is not at the output"
                );
            }
            if detach {
                break;
            }
        }
        durable = first + delivery.settled_through();
        carried = delivery.acked();
    }
    log
}

/// The last occurrence of each record, in the order in which they stand.
fn last_occurrences(log: &[usize]) -> Vec<usize> {
    let last: BTreeMap<usize, usize> = log.iter().enumerate().map(|(at, n)| (*n, at)).collect();
    let mut by_place: Vec<_> = last.into_iter().map(|(n, at)| (at, n)).collect();
    by_place.sort_unstable();
    by_place.into_iter().map(|(_, n)| n).collect()
}

fn in_key_order(log: &[usize], keys: &[Option<u8>]) -> bool {
    let mut last: BTreeMap<u8, usize> = BTreeMap::new();
    log.iter()
        .all(|n| keys[*n].is_none_or(|key| last.insert(key, *n).is_none_or(|before| before <= *n)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_record_arrives_and_its_last_occurrence_is_in_key_order(
        keys in proptest::collection::vec(proptest::option::weighted(0.9, 0u8..4), 1..60),
        sizes in proptest::collection::vec(1usize..25, 2..9),
        steps in steps(),
    ) {
        for order in [Order::Strict, Order::Resend, Order::Unordered] {
            let log = deliver(order, &keys, &sizes, &steps);
            let last = last_occurrences(&log);
            prop_assert_eq!(last.len(), keys.len(), "records are missing in {:?}", order);
            if order != Order::Unordered {
                prop_assert!(in_key_order(&last, &keys), "{order:?}: {log:?}");
            }
            if order == Order::Strict {
                // A record goes back only as a repeat of itself: nothing of its key has come after
                // it yet.
                prop_assert!(in_key_order(&log, &keys), "{order:?}: {log:?}");
            }
        }
    }

    #[test]
    fn unordered_repeats_nothing_that_was_acknowledged(
        keys in proptest::collection::vec(proptest::option::of(0u8..4), 1..60),
        sizes in proptest::collection::vec(1usize..25, 2..9),
        bits in proptest::collection::vec(any::<u64>(), 0..20),
    ) {
        let steps: Vec<_> = bits.iter().map(|b| (Fault::Entries(*b), b % 3 == 0, b.rotate_left(9))).collect();
        let mut log = deliver(Order::Unordered, &keys, &sizes, &steps);
        log.sort_unstable();
        prop_assert_eq!(log, (0..keys.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_healthy_lane_keeps_no_state_per_record() {
    let keys: Vec<_> = (0..21).map(|i| Some(i % 3)).collect();
    let batch = batch(0, &keys);
    let chunks = chunks(batch.len());
    for order in [Order::Resend, Order::Unordered] {
        let mut delivery = Delivery::new(order, Takes::Durably, &batch, 0, &Acked::default());
        for chunk in &chunks {
            let next = delivery.next(&chunks);
            assert_eq!(
                next,
                Next::Send {
                    picks: Picks::Run(chunk.clone())
                },
                "the shared chunk itself"
            );
            delivery.answer(&Picks::Run(chunk.clone()), &Outcome::Durable);
            let nothing = Acked {
                order,
                ..Acked::default()
            };
            assert_eq!(
                (delivery.settled_through(), &delivery.known),
                (chunk.end, &nothing)
            );
        }
        assert_eq!(delivery.next(&chunks), Next::Done);
    }
}

#[test]
fn resend_sends_again_what_stands_behind_a_failed_record_of_its_key() {
    let batch = batch(0, &[Some(1), Some(2), Some(1), Some(2), Some(1)]);
    let mut delivery = Delivery::new(Order::Resend, Takes::Durably, &batch, 0, &Acked::default());
    let whole = Picks::Run(0..5);
    assert_eq!(
        delivery.next(&[0..5]),
        Next::Send {
            picks: whole.clone()
        }
    );
    let verdicts = vec![
        Verdict::Durable,
        Verdict::Durable,
        Verdict::Retry(trouble()),
        Verdict::Durable,
        Verdict::Durable,
    ];
    let answer = delivery.answer(&whole, &Outcome::PerRecord(verdicts));
    assert_eq!(
        (answer.failed, answer.repeats, delivery.settled_through()),
        (1, 0, 2)
    );
    let again = Picks::Some(vec![2, 4]);
    assert_eq!(
        delivery.next(&[0..5]),
        Next::Send {
            picks: again.clone()
        }
    );
    assert_eq!(
        delivery.answer(&again, &Outcome::Durable).repeats,
        1,
        "record 4 was acknowledged before"
    );
    assert_eq!(delivery.next(&[0..5]), Next::Done);
}

#[test]
fn resend_sends_less_at_once_while_much_goes_through_in_vain() {
    let batch = batch(0, &[Some(1); 8]);
    let mut delivery = Delivery::new(Order::Resend, Takes::Durably, &batch, 0, &Acked::default());
    // The first of them is too much for the output now, those behind it are not.
    let mut sent = Vec::new();
    for _ in 0..4 {
        let Next::Send { picks } = delivery.next(&[0..8]) else {
            panic!()
        };
        sent.push(picks.len());
        let verdict = |i| {
            if i == 0 {
                Verdict::Retry(trouble())
            } else {
                Verdict::Durable
            }
        };
        delivery.answer(
            &picks,
            &Outcome::PerRecord(picks.iter().map(verdict).collect()),
        );
        // The lane waits, and takes the batch again.
        delivery = Delivery::new(
            Order::Resend,
            Takes::Durably,
            &batch,
            delivery.settled_through(),
            &delivery.acked(),
        );
    }
    assert_eq!(sent, [8, 4, 2, 1]);
    sent.clear();
    while let Next::Send { picks } = delivery.next(&[0..8]) {
        sent.push(picks.len());
        delivery.answer(&picks, &Outcome::Durable);
    }
    assert_eq!(sent, [1, 2, 4, 1]);
}

#[test]
fn what_was_acknowledged_without_order_does_not_count_where_order_counts() {
    let batch = batch(0, &[Some(1), Some(1), Some(1)]);
    let mut delivery = Delivery::new(
        Order::Unordered,
        Takes::Durably,
        &batch,
        0,
        &Acked::default(),
    );
    let verdicts = vec![
        Verdict::Retry(trouble()),
        Verdict::Durable,
        Verdict::Retry(trouble()),
    ];
    delivery.answer(&Picks::Run(0..3), &Outcome::PerRecord(verdicts));
    assert_eq!(
        delivery.next(&[0..3]),
        Next::Send {
            picks: Picks::Some(vec![0, 2])
        }
    );
    for order in [Order::Resend, Order::Strict] {
        let mut ordered = Delivery::new(order, Takes::Durably, &batch, 0, &delivery.acked());
        let Next::Send { picks } = ordered.next(&[0..3]) else {
            panic!()
        };
        assert_eq!(
            picks,
            Picks::Run(0..if order == Order::Strict { 1 } else { 3 })
        );
        assert_eq!(
            ordered.answer(&Picks::Run(0..3), &Outcome::Durable).repeats,
            1
        );
    }
}

#[test]
fn what_stands_behind_a_record_without_room_waits_too() {
    let batch = batch(0, &[Some(1), Some(2), Some(1), None, Some(2)]);
    for (order, rest) in [
        (Order::Resend, vec![1, 3, 4]),
        (Order::Unordered, vec![1, 2, 3, 4]),
    ] {
        let delivery = Delivery::new(order, Takes::Durably, &batch, 0, &Acked::default());
        let left = delivery.without(&Picks::Run(0..5), &[0]);
        assert_eq!(left.iter().collect::<Vec<_>>(), rest, "{order:?}");
    }
}

#[test]
fn a_refused_record_stops_the_lane_after_all_before_it() {
    let batch = batch(0, &[Some(1), Some(2), Some(3), Some(4)]);
    let mut delivery = Delivery::new(Order::Resend, Takes::Durably, &batch, 0, &Acked::default());
    let verdicts = vec![
        Verdict::Retry(trouble()),
        Verdict::Durable,
        Verdict::Refused(Refusal::new("TooLarge", "too large")),
        Verdict::Retry(trouble()),
    ];
    delivery.answer(&Picks::Run(0..4), &Outcome::PerRecord(verdicts));
    assert_eq!(
        delivery.next(&[0..4]),
        Next::Send {
            picks: Picks::Run(0..1)
        }
    );
    delivery.answer(&Picks::Run(0..1), &Outcome::Durable);
    assert_eq!(
        delivery.next(&[0..4]),
        Next::Refused {
            record: 2,
            refusal: Refusal::new("TooLarge", "too large")
        }
    );
    assert_eq!(delivery.settled_through(), 2);
}

#[test]
fn strict_says_when_order_is_what_limits_it() {
    let batch = batch(0, &[Some(1), Some(1), None, None]);
    let mut delivery = Delivery::new(Order::Strict, Takes::Durably, &batch, 0, &Acked::default());
    let first = Picks::Some(vec![0, 2, 3]);
    assert_eq!(
        delivery.next(&[0..4]),
        Next::Send {
            picks: first.clone()
        }
    );
    assert!(delivery.order_limited());
    delivery.answer(&first, &Outcome::Durable);
    assert_eq!(
        delivery.next(&[0..4]),
        Next::Send {
            picks: Picks::Run(1..2)
        }
    );
    assert!(!delivery.order_limited());
}

/// Requests of one delivery in flight together, answered in any order.
fn fly(order: Order, keys: &[Option<u8>], most: usize, steps: &[(usize, u64)]) -> Vec<usize> {
    let batch = batch(0, keys);
    let chunks = chunks(batch.len());
    let mut delivery = Delivery::new(order, Takes::Durably, &batch, 0, &Acked::default());
    let (mut log, mut flying) = (Vec::new(), Vec::<Picks>::new());
    let mut steps = steps.iter();
    loop {
        let next = match flying.len() < most {
            true => delivery.next(&chunks),
            false => Next::Wait,
        };
        match next {
            Next::Send { picks } => {
                let key = |i: usize| keys[i];
                let busy: Vec<u8> = flying
                    .iter()
                    .flat_map(Picks::iter)
                    .filter_map(key)
                    .collect();
                assert!(picks.iter().filter_map(key).all(|key| !busy.contains(&key)));
                delivery.sent(&picks);
                flying.push(picks);
            }
            Next::Wait => {
                let (which, bits) = steps.next().copied().unwrap_or((0, 0));
                let picks = flying.remove(which % flying.len());
                let outcome = serve(&Fault::Entries(bits), &picks, 0, &mut log);
                delivery.answer(&picks, &outcome);
            }
            Next::Done => return log,
            Next::Refused { .. } => panic!("nothing was refused"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn requests_in_flight_together_share_no_key_and_keep_the_order(
        keys in proptest::collection::vec(proptest::option::weighted(0.9, 0u8..9), 1..60),
        most in 1usize..6,
        steps in proptest::collection::vec((any::<usize>(), any::<u64>()), 0..40),
    ) {
        for order in [Order::Strict, Order::Resend, Order::Unordered] {
            let log = fly(order, &keys, most, &steps);
            let last = last_occurrences(&log);
            prop_assert_eq!(last.len(), keys.len(), "records are missing in {:?}", order);
            if order != Order::Unordered {
                prop_assert!(in_key_order(&last, &keys), "{order:?}: {log:?}");
            }
            if order == Order::Strict {
                prop_assert!(in_key_order(&log, &keys), "{order:?}: {log:?}");
            }
        }
    }
}

/// An output whose records with the key `key-9` are aggregates of records of the keys 0 and 1.
struct OfAggregates;

#[async_trait::async_trait]
impl Output for OfAggregates {
    fn profile(&self) -> crate::output::Profile {
        crate::output::Profile::new(crate::output::RequestLimits {
            entries: 7,
            bytes: 1 << 20,
        })
    }

    fn encoding(&self) -> crate::output::EncodingKey {
        crate::output::EncodingKey::new("aggregates", "")
    }

    fn encoded_bound(&self, _: usize, bytes: usize) -> usize {
        bytes
    }

    fn inner_keys(&self, record: &crate::record::Record<'_>) -> Vec<Box<str>> {
        match record.key {
            Some("key-9") => vec!["key-0".into(), "key-1".into()],
            _ => Vec::new(),
        }
    }

    fn encode(&self, _: &Batch, picks: Picks) -> crate::output::Chunk {
        crate::output::Chunk {
            picks,
            payload: Box::new(()),
            allocation: 0,
        }
    }

    async fn write(&self, _: &Batch, _: &crate::output::Chunk, _: std::time::Duration) -> Outcome {
        Outcome::Durable
    }
}

#[test]
fn the_order_of_an_aggregate_is_that_of_the_keys_within() {
    // A plain record, the aggregate of its key, a record of the aggregate's other key, another key.
    let batch = batch(0, &[Some(0), Some(9), Some(1), Some(2)]);
    let new = |order| {
        let delivery = Delivery::new(order, Takes::Durably, &batch, 0, &Acked::default());
        delivery.at_output(&OfAggregates)
    };

    let mut resend = new(Order::Resend);
    let picks = Picks::Run(0..4);
    let verdicts = [true, false, false, false].map(|failed| match failed {
        true => Verdict::Retry(trouble()),
        false => Verdict::Durable,
    });
    let answer = resend.answer(&picks, &Outcome::PerRecord(verdicts.to_vec()));
    assert_eq!(
        (answer.failed, answer.undone),
        (1, 2),
        "behind the first, and behind the second"
    );

    let mut strict = new(Order::Strict);
    let picks = Picks::Some(vec![0, 3]);
    assert_eq!(strict.next(&[0..4]), Next::Send { picks });
    let held = strict.without(&Picks::Run(0..4), &[0]);
    assert_eq!(held, Picks::Run(3..4));
}

#[test]
fn a_record_that_is_partly_written_is_sent_again_as_a_repeat() {
    let batch = batch(0, &[Some(0), Some(1)]);
    let mut delivery = Delivery::new(Order::Resend, Takes::Durably, &batch, 0, &Acked::default());
    let picks = Picks::Run(0..2);
    let partly = vec![Verdict::Partly(trouble()), Verdict::Durable];
    let answer = delivery.answer(&picks, &Outcome::PerRecord(partly));
    assert_eq!((answer.failed, answer.repeats), (1, 0));

    let again = delivery.answer(&Picks::Run(0..1), &Outcome::Durable);
    assert_eq!(again.repeats, 1);
    assert_eq!(delivery.settled_through(), 2);
}
