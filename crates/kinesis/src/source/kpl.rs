//! Finds records that the Kinesis Producer Library aggregated.
//!
//! Source: [KPL aggregated record format](https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md):
//! four magic bytes, a protocol buffers message, an MD5.

use distributary_wire::hot::Data;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// The least number of bytes: magic bytes and MD5.
const BYTES_MIN: usize = 4 + 16;

/// True if the record's data start as an aggregate does. Nothing is decoded.
pub fn is_aggregate(data: Data<'_>) -> bool {
    data.decoded_len() >= BYTES_MIN
        && match data {
            Data::Raw(bytes) => bytes.starts_with(&MAGIC),
            // Four bytes are five base64 characters and two bits of the sixth: 84maw, then 'g' to
            // 'v' (the bits 10....).
            Data::Base64(text) => {
                text.starts_with(b"84maw") && matches!(text.get(5), Some(b'g'..=b'v'))
            }
        }
}

#[cfg(test)]
mod tests {
    use distributary_wire::hot::DataForm;

    use super::*;

    fn check(data: &[u8], form: DataForm) -> bool {
        is_aggregate(Data::new(form, data))
    }

    #[test]
    fn aggregates_are_found_in_both_forms_before_any_byte() {
        for next in 0..=255u8 {
            let mut data = MAGIC.to_vec();
            data.push(next);
            data.extend([7; 20]);
            assert!(check(&data, DataForm::Raw));
            let text = distributary_wire::codec::encode(
                distributary_wire::codec::Format::Json,
                &distributary_wire::types::Blob(data.clone().into()),
            );
            assert!(check(&text[1..text.len() - 1], DataForm::Base64), "{next}");
            // One bit of the last magic byte is wrong.
            data[3] ^= 1;
            assert!(!check(&data, DataForm::Raw));
            data[3] ^= 1;
            data[3] ^= 0x40;
            let text = distributary_wire::codec::encode(
                distributary_wire::codec::Format::Json,
                &distributary_wire::types::Blob(data.into()),
            );
            assert!(!check(&text[1..text.len() - 1], DataForm::Base64));
        }
        assert!(!check(&MAGIC, DataForm::Raw), "too short to be one");
        assert!(!check(b"84mawg==", DataForm::Base64));
        assert!(!check(b"", DataForm::Base64));
    }
}
