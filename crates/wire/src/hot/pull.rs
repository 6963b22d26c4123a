//! What the readers here need of a format: to walk over a body once and say where its parts lie.
//!
//! These walkers take what real servers and clients write and give up ([`Miss`]) on anything else, be it wrong or only
//! rare. The caller then has the generic codec read the body, so that there is one judge of what is right. They may
//! therefore refuse too much, but must never read something else than the generic codec would.

use serde::de::DeserializeOwned;

use super::Span;

/// The body is not as expected: let the generic codec read it.
#[derive(Debug)]
pub(super) struct Miss;

/// No record, entry or result is shorter than this in either format, with its members' names: a bound on what an announced
/// length may reserve.
pub(super) const ITEM_BYTES_MIN: usize = 16;

/// Found as expected, or not.
pub(super) type Hot<T> = Result<T, Miss>;

/// A walk over a body.
///
/// Texts that are no plain slice of the body (escapes) are appended to `extra`; spans of those start at the body's
/// length, as if `extra` followed the body.
pub(super) trait Pull<'b>: Sized {
    /// Walks over an object or map; `member` takes the value of each name.
    fn object(&mut self, member: impl FnMut(&mut Self, &'b [u8]) -> Hot<()>) -> Hot<()>;

    /// Walks over an array of objects; `item` takes each of them.
    fn list<T>(&mut self, item: impl FnMut(&mut Self) -> Hot<T>) -> Hot<Vec<T>>;

    /// Walks over an array of objects and counts them. `item` takes an object and says where its two texts lie;
    /// objects after it that differ from it in nothing but those texts are counted without `item`.
    fn count(&mut self, item: impl FnMut(&mut Self) -> Hot<[Span; 2]>) -> Hot<usize>;

    /// Takes a null if the next value is one.
    fn null(&mut self) -> Hot<bool>;

    /// A text, checked to be UTF-8.
    fn text(&mut self, extra: &mut Vec<u8>) -> Hot<Span>;

    /// Data: a byte string, or the base64 text that stands for one (not looked into).
    fn data(&mut self) -> Hot<Span>;

    /// An integer.
    fn int(&mut self) -> Hot<i64>;

    /// A boolean.
    fn boolean(&mut self) -> Hot<bool>;

    /// A point in time, in milliseconds.
    fn time_ms(&mut self) -> Hot<i64>;

    /// Passes over a value of any kind.
    fn skip(&mut self) -> Hot<()>;

    /// Reads a value by the generic codec.
    fn generic<T: DeserializeOwned>(&mut self) -> Hot<T>;

    /// Checks that nothing follows.
    fn end(&mut self) -> Hot<()>;
}

/// An object to which others are compared byte by byte, but for two texts in it.
pub(super) struct Template<'b> {
    bytes: &'b [u8],
    /// Before, between and after the texts: where each begins and ends in `bytes`.
    fixed: [(usize, usize); 3],
}

impl<'b> Template<'b> {
    /// The object at `start..end` of the body with those texts; `None` if they do not lie in it one after the other.
    pub(super) fn new(body: &'b [u8], start: usize, end: usize, texts: [Span; 2]) -> Option<Self> {
        let bytes = body.get(start..end)?;
        let inside = |at: u32| (at as usize).checked_sub(start);
        let [mut first, mut second] = texts;
        if second.start < first.start {
            (first, second) = (second, first);
        }
        let fixed = [
            (0, inside(first.start)?),
            (inside(first.end)?, inside(second.start)?),
            (inside(second.end)?, bytes.len()),
        ];
        let sound = fixed.iter().all(|(from, to)| from <= to)
            && fixed[0].1 <= fixed[1].0
            && fixed[1].1 <= fixed[2].0;
        sound.then_some(Self { bytes, fixed })
    }

    /// Length of every object that matches.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if `next` begins with such an object. Its texts are then as long as those of the template, and of characters
    /// that stand for themselves in both formats.
    pub(super) fn matches(&self, next: &[u8]) -> bool {
        let Some(next) = next.get(..self.bytes.len()) else {
            return false;
        };
        let [head, middle, end] = self.fixed;
        let same = |(from, to): (usize, usize)| self.bytes[from..to] == next[from..to];
        same(head)
            && same(middle)
            && same(end)
            && is_plain(&next[head.1..middle.0])
            && is_plain(&next[middle.1..end.0])
    }
}

/// True for printable ASCII without quotes and backslashes. Without an early exit, so that the compiler makes it wide.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().fold(false, |odd, b| {
        odd | (*b < 0x20) | (*b >= 0x7f) | (*b == b'"') | (*b == b'\\')
    })
}

/// The next value, or none for null. A member that stands twice is a [`Miss`].
pub(super) fn once<'b, P: Pull<'b>, T>(
    walk: &mut P,
    slot: &mut Option<T>,
    read: impl FnOnce(&mut P) -> Hot<T>,
) -> Hot<()> {
    if slot.is_some() {
        return Err(Miss);
    }
    if !walk.null()? {
        *slot = Some(read(walk)?);
    }
    Ok(())
}

/// A span, if it fits the 32 bits that bodies are limited to.
pub(super) fn span(start: usize, end: usize) -> Hot<Span> {
    Ok(Span {
        start: u32::try_from(start).map_err(|_| Miss)?,
        end: u32::try_from(end).map_err(|_| Miss)?,
    })
}
