//! Frames in chunks of any size: every frame that is read can be written and read again the same;
//! damaged frames are refused.
#![no_main]

use distributary_wire::eventstream::{Decoder, SubscribeEvent};
use libfuzzer_sys::fuzz_target;

// First the bytes alone, then the bytes with valid lengths and checksums around, so that the reader
// of the headers is reached.
fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    read(bytes, usize::from(*cut) + 1);

    let headers = bytes.len() * usize::from(*cut) / 255;
    let total = (bytes.len() + 16) as u32;
    let mut whole = [total.to_be_bytes(), (headers as u32).to_be_bytes()].concat();
    whole.extend(crc32fast::hash(&whole).to_be_bytes());
    whole.extend(bytes);
    whole.extend(crc32fast::hash(&whole).to_be_bytes());
    read(&whole, 7);
});

fn read(bytes: &[u8], step: usize) {
    let mut decoder = Decoder::new();
    for chunk in bytes.chunks(step) {
        decoder.push(chunk);
        while let Ok(Some(frame)) = decoder.next_frame() {
            if let Ok(bytes) = frame.encode() {
                let mut again = Decoder::new();
                again.push(&bytes);
                assert_eq!(again.next_frame(), Ok(Some(frame.clone())));
            }
            let _ = SubscribeEvent::from_frame(frame);
        }
    }
}
