//! The positions of a shard's lanes as one binary attribute (`distributaryLanes`), small because a
//! write of DynamoDB bills the whole item: 50 lanes at one place take about 240 bytes, 50 lanes at
//! 50 places about 1,000.
//!
//! The format: version (one byte, 1); the fingerprint of the source (8 bytes, big-endian); then one
//! group for each distinct position: the position, the number of lanes (varint), and the 4-byte
//! fingerprint of each lane's output. A sequence number is its value in big-endian bytes, less the
//! bytes that it shares with the sequence number of the group before.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::checkpoint::{Position, Sequence};
use crate::clock::Millis;
use crate::source::StreamIdentity;
use crate::store::OutputId;

const VERSION: u8 = 1;
/// Decimal digits of the largest sequence number.
const MAX_DIGITS: usize = 129;
/// Bytes of the largest sequence number.
const MAX_NUMBER: usize = 54;

const TRIM_HORIZON: u8 = 0;
const AT: u8 = 1;
const CLOSED: u8 = 2;
/// After a record whose sequence number is a canonical decimal number.
const AFTER: u8 = 3;
/// After a part of such a record.
const AFTER_PART: u8 = 4;
/// After a record whose sequence number is kept as text.
const AFTER_TEXT: u8 = 5;
/// After a part of such a record.
const AFTER_PART_TEXT: u8 = 6;

/// A short name of an output. Two outputs of one fan-out with the same fingerprint are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPrint(pub u32);

impl OutputPrint {
    /// The fingerprint of `output`: FNV-1a of the name, 32 bits.
    pub fn of(output: &OutputId) -> Self {
        let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        Self(output.as_str().as_bytes().iter().fold(0x811C_9DC5, fold))
    }
}

/// The fingerprint of a source: FNV-1a of ARN and creation time, 64 bits.
pub fn source_print(source: &StreamIdentity) -> u64 {
    let created = source.created.map_or(0, |at| at.0).to_be_bytes();
    let bytes = source.arn.as_bytes().iter().chain(&created);
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// One lane's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The position up to which everything is durable.
    pub position: Position,
    /// Arrival of the last durable record.
    pub arrival: Option<Millis>,
}

/// The positions of a shard's lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// [`source_print`] of the stream that the positions belong to.
    pub source: u64,
    /// The lanes, those of outputs that this worker does not know included.
    pub lanes: BTreeMap<OutputPrint, Cursor>,
}

impl Cursors {
    /// The lowest position; `None` without lanes.
    pub fn lowest(&self) -> Option<&Position> {
        let mut positions = self.lanes.values().map(|cursor| &cursor.position);
        let first = positions.next()?;
        Some(positions.fold(
            first,
            |low, other| if low.covers(other) { other } else { low },
        ))
    }

    /// Adds the lanes of `others` that are missing here.
    pub fn add_missing(&mut self, others: &Self) {
        for (print, cursor) in &others.lanes {
            self.lanes.entry(*print).or_insert_with(|| cursor.clone());
        }
    }

    /// The attribute.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.out.push(VERSION);
        writer.out.extend_from_slice(&self.source.to_be_bytes());
        for (cursor, prints) in self.groups() {
            writer.cursor(cursor);
            writer.varint(prints.len() as u64);
            for print in prints {
                writer.out.extend_from_slice(&print.0.to_be_bytes());
            }
        }
        writer.out.into()
    }

    /// The distinct positions, each with its lanes.
    fn groups(&self) -> Vec<(&Cursor, Vec<OutputPrint>)> {
        let mut groups: Vec<(&Cursor, Vec<OutputPrint>)> = Vec::new();
        for (print, cursor) in &self.lanes {
            let group = groups.iter_mut().find(|(of, _)| *of == cursor);
            match group {
                Some((_, prints)) => prints.push(*print),
                None => groups.push((cursor, vec![*print])),
            }
        }
        groups
    }

    /// Reads the attribute; `None` if the bytes are not of this format.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader {
            left: bytes,
            sequence: Vec::new(),
            arrival: 0,
        };
        if reader.byte()? != VERSION {
            return None;
        }
        let source = reader.take(8)?.try_into().ok()?;

        let mut lanes = BTreeMap::new();
        while !reader.left.is_empty() {
            let cursor = reader.cursor()?;
            for _ in 0..reader.varint()? {
                lanes.insert(reader.print()?, cursor.clone());
            }
        }
        Some(Self {
            source: u64::from_be_bytes(source),
            lanes,
        })
    }
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// The sequence number of the group before.
    sequence: Vec<u8>,
    /// The arrival of the group before.
    arrival: i64,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.out.push(value.to_le_bytes()[0]);
    }

    fn signed(&mut self, value: i64) {
        self.varint(zigzag(value));
    }

    fn cursor(&mut self, cursor: &Cursor) {
        match &cursor.position {
            Position::TrimHorizon => self.out.push(TRIM_HORIZON),
            Position::Closed => self.out.push(CLOSED),
            Position::At(at) => {
                self.out.push(AT);
                self.signed(at.0);
            }
            Position::After { sequence, sub } => self.after(sequence, *sub),
        }

        let Some(arrival) = cursor.arrival else {
            self.varint(0);
            return;
        };
        let delta = zigzag(arrival.0.wrapping_sub(self.arrival));
        self.varint(delta.saturating_add(1));
        self.arrival = arrival.0;
    }

    fn after(&mut self, sequence: &Sequence, sub: Option<u32>) {
        let number = number_of(sequence.as_str());
        self.out.push(match (&number, sub) {
            (Some(_), None) => AFTER,
            (Some(_), Some(_)) => AFTER_PART,
            (None, None) => AFTER_TEXT,
            (None, Some(_)) => AFTER_PART_TEXT,
        });

        match number {
            Some(number) => self.number(number),
            None => self.counted(sequence.as_str().as_bytes()),
        }
        if let Some(sub) = sub {
            self.varint(u64::from(sub));
        }
    }

    /// Writes the bytes of a sequence number that the one before does not share.
    fn number(&mut self, number: Vec<u8>) {
        let shared = shared_prefix(&self.sequence, &number);
        self.varint(shared as u64);
        self.counted(&number[shared..]);
        self.sequence = number;
    }

    fn counted(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}

struct Reader<'a> {
    left: &'a [u8],
    sequence: Vec<u8>,
    arrival: i64,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(first)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.left.split_at_checked(n)?;
        self.left = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn print(&mut self) -> Option<OutputPrint> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(OutputPrint(u32::from_be_bytes(bytes)))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    fn cursor(&mut self) -> Option<Cursor> {
        let position = match self.byte()? {
            TRIM_HORIZON => Position::TrimHorizon,
            CLOSED => Position::Closed,
            AT => Position::At(Millis(unzigzag(self.varint()?))),
            tag @ (AFTER | AFTER_PART | AFTER_TEXT | AFTER_PART_TEXT) => self.after(tag)?,
            _ => return None,
        };

        let arrival = match self.varint()? {
            0 => None,
            delta => {
                self.arrival = self.arrival.wrapping_add(unzigzag(delta - 1));
                Some(Millis(self.arrival))
            }
        };
        Some(Cursor { position, arrival })
    }

    fn after(&mut self, tag: u8) -> Option<Position> {
        let sequence = match tag {
            AFTER | AFTER_PART => self.number()?,
            _ => Sequence::new(std::str::from_utf8(self.counted()?).ok()?),
        };

        let sub = match tag {
            AFTER_PART | AFTER_PART_TEXT => Some(u32::try_from(self.varint()?).ok()?),
            _ => None,
        };
        Some(Position::After { sequence, sub })
    }

    /// A sequence number, kept for the next group.
    fn number(&mut self) -> Option<Sequence> {
        let shared = usize::try_from(self.varint()?).ok()?;
        let mut number = self.sequence.get(..shared)?.to_vec();
        number.extend_from_slice(self.counted()?);
        if number.len() > MAX_NUMBER {
            return None;
        }

        let sequence = Sequence::new(&text_of(&number));
        self.sequence = number;
        Some(sequence)
    }
}

fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The value of a decimal number without leading zeros, in big-endian bytes without leading zeros;
/// `None` for any other text.
fn number_of(decimal: &str) -> Option<Vec<u8>> {
    if !is_canonical(decimal) {
        return None;
    }

    // Little-endian while it grows.
    let mut value: Vec<u8> = Vec::new();
    for digit in decimal.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut value {
            let sum = u32::from(*byte) * 10 + carry;
            [*byte, ..] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        if carry > 0 {
            value.push(carry.to_le_bytes()[0]);
        }
    }
    value.reverse();
    Some(value)
}

/// True if `decimal` is a decimal number of at most 129 digits, without leading zeros.
fn is_canonical(decimal: &str) -> bool {
    let has_length = !decimal.is_empty() && decimal.len() <= MAX_DIGITS;
    if !has_length || !decimal.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    decimal == "0" || !decimal.starts_with('0')
}

/// The decimal text of a big-endian value.
fn text_of(value: &[u8]) -> String {
    let mut digits: Vec<u8> = vec![0];
    for byte in value {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            [*digit, ..] = (sum % 10).to_le_bytes();
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push((carry % 10).to_le_bytes()[0]);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|d| char::from(b'0' + d)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_position() -> impl Strategy<Value = Position> {
        let sequence = prop_oneof!["[1-9][0-9]{0,128}", "0[0-9]{1,8}", "0", "[a-z]{1,9}"];
        let after = (sequence, any::<Option<u32>>()).prop_map(|(text, sub)| Position::After {
            sequence: Sequence::new(&text),
            sub,
        });
        prop_oneof![
            Just(Position::TrimHorizon),
            Just(Position::Closed),
            any::<i64>().prop_map(|at| Position::At(Millis(at))),
            after,
        ]
    }

    proptest! {
        #[test]
        fn cursors_are_read_as_they_were_written(
            source in any::<u64>(),
            lanes in prop::collection::btree_map(
                any::<u32>(),
                (any_position(), prop::option::of(0..i64::MAX / 4)),
                0..60,
            ),
        ) {
            let lanes = lanes.into_iter().map(|(print, (position, arrival))| {
                let arrival = arrival.map(Millis);
                (OutputPrint(print), Cursor { position, arrival })
            });
            let cursors = Cursors { source, lanes: lanes.collect() };

            let read = Cursors::decode(&cursors.encode());

            prop_assert_eq!(read, Some(cursors));
        }

        #[test]
        fn foreign_bytes_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Cursors::decode(&bytes);
        }
    }

    fn kinesis_cursors(places: usize) -> Cursors {
        let lanes = (0..50_usize).map(|i| {
            let place = i % places;
            let text = format!("496804906910366094949840636055147610550589127304947{place:05}");
            let cursor = Cursor {
                position: Position::after(&text),
                arrival: Some(Millis(1_790_000_000_000 + place as i64 * 700)),
            };
            let output = OutputId::new(&format!("orders-for-team-{i}"));
            (OutputPrint::of(&output), cursor)
        });
        Cursors {
            source: 7,
            lanes: lanes.collect(),
        }
    }

    #[test]
    fn fifty_lanes_fit_the_size_of_a_row() {
        // A KCL row without our attributes has about 420 bytes.
        assert!(kinesis_cursors(1).encode().len() < 260);
        assert!(kinesis_cursors(50).encode().len() < 1_100);
    }

    #[test]
    fn the_lowest_position_is_the_checkpoint() {
        let mut cursors = kinesis_cursors(50);
        assert_eq!(
            cursors.lowest(),
            Some(&Position::after(
                "49680490691036609494984063605514761055058912730494700000"
            ))
        );

        let cursor = Cursor {
            position: Position::TrimHorizon,
            arrival: None,
        };
        cursors.lanes.insert(OutputPrint(1), cursor);
        assert_eq!(cursors.lowest(), Some(&Position::TrimHorizon));
    }
}
