//! If the hot reader accepts a body, the generic codec reads the same.
#![no_main]

use bytes::Bytes;
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::GetRecordsAnswer;
use distributary_wire::types::{GetRecordsResponse, SubscribeToShardEvent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for format in Format::ALL {
        let generic = codec::decode::<GetRecordsResponse>(format, body);
        let Ok(hot) = GetRecordsAnswer::parse(format, Bytes::copy_from_slice(body)) else {
            // The hot reader requires more than the generic codec: `Records`, a sequence number in
            // every record, and valid members of push events.
            let event = codec::decode::<SubscribeToShardEvent>(format, body);
            if let (Ok(generic), Ok(_)) = (generic, event) {
                let none = generic.records.is_empty();
                assert!(none || generic.records.iter().any(|r| r.sequence_number.is_empty()));
            }
            continue;
        };

        // Base64 is checked only by decoding.
        let Ok(data) = hot
            .records
            .iter()
            .map(|r| hot.data(r).decode())
            .collect::<Result<Vec<_>, _>>()
        else {
            continue;
        };

        let generic =
            generic.expect("the generic codec accepts a body that the hot reader accepts");
        assert_eq!(generic.records.len(), hot.records.len());
        for ((a, b), data) in generic.records.iter().zip(&hot.records).zip(data) {
            assert_eq!(a.sequence_number, b.sequence.text(&hot.body));
            assert_eq!(
                a.partition_key.as_deref(),
                b.key.map(|key| key.text(&hot.body))
            );
            assert_eq!(a.data.0, data);
            assert_eq!(
                a.approximate_arrival_timestamp.unwrap_or_default().0,
                b.arrival_ms
            );
            assert_eq!(hot.data(b).decoded_len(), data.len());
        }

        assert_eq!(generic.next_shard_iterator, hot.next_shard_iterator);
        assert_eq!(generic.millis_behind_latest, hot.millis_behind_latest);
        assert_eq!(generic.child_shards.unwrap_or_default(), hot.child_shards);
    }
});
