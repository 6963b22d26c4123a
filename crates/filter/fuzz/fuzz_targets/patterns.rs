//! Any text is a pattern or has a defect with a place; data are JSON exactly when serde_json says so.
#![no_main]

use std::collections::BTreeMap;

use distributary_filter::{Decision, Filter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (pattern, data) = input;
    let within = format!(r#"{{"data": {pattern}}}"#);
    for text in [pattern, &within] {
        match Filter::compile(&[text]) {
            Ok(filter) => drop(filter.decide_data(data)),
            Err(bad) => assert!(!bad.place.is_empty() && !bad.message.is_empty()),
        }
    }

    let any = Filter::compile(&[r#"{"data": {"a": [{"exists": true}, {"exists": false}]}}"#]);
    let decision = any.expect("the pattern is valid").decide_data(data);
    let is_object = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(data).is_ok();
    // A lone surrogate or a huge number is JSON by its grammar, but no value of serde_json's.
    assert!(!is_object || decision == Decision::Match);
});
