//! A record counts as durable only if the generic codec reads the same from the answer.
#![no_main]

use bytes::Bytes;
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::{EntryResult, PutRecordsAnswer};
use distributary_wire::types::PutRecordsResponse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for format in Format::ALL {
        let Ok(hot) = PutRecordsAnswer::parse(format, &Bytes::copy_from_slice(body)) else {
            continue;
        };
        let generic: PutRecordsResponse =
            codec::decode(format, body).expect("the generic codec accepts the body too");
        let all_durable = matches!(hot, PutRecordsAnswer::AllDurable { .. });
        assert_eq!(hot.len(), generic.records.len());

        let results = hot.results().expect("a checked answer can be read");
        assert_eq!(results.len(), generic.records.len());
        for (result, entry) in results.iter().zip(&generic.records) {
            let durable = matches!(result, EntryResult::Durable { .. });
            assert!(durable || !all_durable);
            assert_eq!(
                durable,
                entry.error_code.as_deref().unwrap_or_default().is_empty()
            );
            assert_eq!(
                durable,
                !entry
                    .sequence_number
                    .as_deref()
                    .unwrap_or_default()
                    .is_empty()
            );
        }
    }
});
