//! The hot reader accepts exactly the bodies that the generic codec accepts, and reads the same.
#![no_main]

use bytes::Bytes;
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::PutRecordsParsed;
use distributary_wire::types::PutRecordsRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for format in Format::ALL {
        let generic = codec::decode::<PutRecordsRequest>(format, body);
        let hot = PutRecordsParsed::parse(format, &Bytes::copy_from_slice(body));
        assert_eq!(generic.is_ok(), hot.is_ok());
        let (Ok(generic), Ok(hot)) = (generic, hot) else {
            continue;
        };

        assert_eq!(generic.records.is_some(), hot.records.is_some());
        let (entries, spans) = (
            generic.records.unwrap_or_default(),
            hot.records.unwrap_or_default(),
        );
        assert_eq!(entries.len(), spans.len());
        for (a, b) in entries.iter().zip(&spans) {
            assert_eq!(
                a.data.as_ref().map(|d| &d.0[..]),
                b.data.map(|s| s.of(&hot.buffer))
            );
            assert_eq!(
                a.partition_key.as_deref(),
                b.key.map(|s| s.text(&hot.buffer))
            );
            assert_eq!(
                a.explicit_hash_key.as_deref(),
                b.explicit_hash_key.map(|s| s.text(&hot.buffer))
            );
        }

        assert_eq!(generic.stream_name, hot.stream_name);
        assert_eq!(generic.stream_arn, hot.stream_arn);
        assert_eq!(generic.stream_id, hot.stream_id);
        assert_eq!(generic.dry_run, hot.dry_run);
    }
});
