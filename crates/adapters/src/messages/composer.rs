//! Messages of queues and topics: a text with attributes, and the ids of FIFO queues and topics.

use std::fmt;

use distributary_core::batch::Batch;
use distributary_core::output::KeepsOrder;
use distributary_core::output::{Picks, Profile, Refusal, RequestLimits, Verdict};
use distributary_core::record::Record;

use super::attributes::{Attributes, CONTENT_ENCODING, attribute_len};
use super::collapse::Collapse;
use super::text::{Texts, is_sqs_text};
use super::{Encoded, IN_FLIGHT, place};
use crate::formats::Format;
use crate::messages::text::Binary;

/// Messages of a request (Amazon SQS and SNS API references, `SendMessageBatch`, `PublishBatch`).
const ENTRIES: usize = 10;
/// Characters of a message group's id, and of a deduplication id.
const ID_CHARACTERS: usize = 128;

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) fifo: Option<Fifo>,
}

/// The ids of a message of a FIFO queue or topic.
#[derive(Debug)]
pub(crate) struct Fifo {
    pub(crate) group: String,
    pub(crate) deduplication: String,
}

impl Message {
    /// The bytes that limits count.
    fn len(&self) -> usize {
        let attributes = self.attributes.iter();
        let bytes = attributes.map(|(name, value)| attribute_len(name, value));
        self.body.len() + bytes.sum::<usize>()
    }

    /// Bytes that the message keeps allocated.
    pub(crate) fn allocation(&self) -> usize {
        self.len() + 2 * ID_CHARACTERS
    }
}

/// The settings that decide about a message.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) format: Format,
    pub(crate) binary: Binary,
    pub(crate) attributes: Attributes,
    pub(crate) collapse: Option<Collapse>,
    pub(crate) is_fifo: bool,
}

impl Form {
    /// The order per key that a queue or topic keeps.
    pub(crate) fn keeps(is_fifo: bool) -> KeepsOrder {
        if is_fifo {
            KeepsOrder::StrictOnly
        } else {
            KeepsOrder::Nothing
        }
    }

    /// Settings that do not go together.
    pub(crate) fn problems(&self) -> Vec<String> {
        let Some(collapse) = self.collapse else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        let mut conflict = |is: bool, with: &str| {
            if is {
                problems.push(format!(
                    "collapse = \"{collapse}\" does not go together with {with}"
                ));
            }
        };
        conflict(self.is_fifo, "a FIFO queue or topic");
        conflict(self.format != Format::Text, "format");
        conflict(!self.attributes.is_empty(), "attributes");
        problems
    }
}

/// Makes messages.
#[derive(Debug)]
pub(crate) struct Composer {
    form: Form,
    /// Bytes of a message.
    message_bytes: usize,
    /// Bytes of a request.
    request_bytes: usize,
}

impl fmt::Display for Composer {
    /// The settings that change messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Composer {
    pub(crate) fn new(form: Form, message_bytes: usize, request_bytes: usize) -> Self {
        Self {
            form,
            message_bytes,
            request_bytes,
        }
    }

    fn texts(&self) -> Texts {
        Texts {
            format: self.form.format,
            binary: self.form.binary,
            is_allowed: is_sqs_text,
        }
    }

    pub(crate) fn profile(&self) -> Profile {
        let request = match self.form.collapse {
            Some(collapse) => collapse.limits(self.message_bytes),
            None => RequestLimits {
                entries: ENTRIES,
                bytes: self.request_bytes,
            },
        };
        Profile {
            keeps: Form::keeps(self.form.is_fifo),
            in_flight: IN_FLIGHT,
            deduplicates: self.form.is_fifo,
            ..Profile::new(request)
        }
    }

    pub(crate) fn weigh(&self, record: &Record<'_>) -> usize {
        if let Some(collapse) = self.form.collapse {
            return collapse.weigh(record);
        }

        let (name, value) = CONTENT_ENCODING;
        let texts = self.texts();
        let text = texts.len(record);
        let is_encoded = self.form.format == Format::Text && !texts.is_text(record);
        let encoding = if is_encoded {
            attribute_len(name, value)
        } else {
            0
        };
        text + encoding + self.form.attributes.len(record)
    }

    pub(crate) fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        let Some(collapse) = self.form.collapse else {
            return Encoded::one_each(picks, |i| self.message(batch, i));
        };
        let (text, refused) = collapse.message(batch, picks, Some(is_sqs_text));
        let message = Message {
            // Each part is text.
            body: String::from_utf8_lossy(&text).into_owned(),
            attributes: Vec::new(),
            fifo: None,
        };
        Encoded::together(self.checked(message), refused)
    }

    fn message(&self, batch: &Batch, i: usize) -> Result<Message, Verdict> {
        let text = self.texts().of(batch, i)?;
        let mut attributes = self.form.attributes.of(batch, i)?;
        if text.is_base64 {
            let (name, value) = CONTENT_ENCODING;
            attributes.push((name, value.to_owned()));
        }

        let fifo = self.form.is_fifo.then(|| fifo(batch, i));
        let message = Message {
            body: text.text,
            attributes,
            fifo,
        };
        self.checked(message)
    }

    fn checked(&self, message: Message) -> Result<Message, Verdict> {
        let (bytes, limit) = (message.len(), self.message_bytes);
        let refused = |code, text| Err(Verdict::Refused(Refusal::new(code, text)));
        if message.body.is_empty() {
            let text = "the record has no data, and the service takes no empty message";
            let text = text.to_owned();
            return refused("EmptyMessage", text);
        }
        if bytes > limit {
            let text = format!("the message has {bytes} bytes, and the service takes {limit}");
            return refused("MessageTooLong", text);
        }
        Ok(message)
    }
}

fn fifo(batch: &Batch, i: usize) -> Fifo {
    let key = batch.record(i).key.unwrap_or("-");
    let id = place::id(batch, i);
    let group = match is_id(key) {
        true => key.to_owned(),
        false => format!("h-{}", place::sha256(key)),
    };
    let deduplication = if is_id(&id) { id } else { place::sha256(&id) };
    Fifo {
        group,
        deduplication,
    }
}

/// True if SQS and SNS take `text` as an id: 1 to 128 ASCII letters, digits and punctuation marks.
fn is_id(text: &str) -> bool {
    (1..=ID_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_characters_and_the_length_of_the_api_reference() {
        assert!(is_id("shardId-000000000000:4965.1") && is_id(&"k".repeat(128)));
        for bad in ["", "a b", "schlüssel", "a\u{7f}", &"k".repeat(129)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}
