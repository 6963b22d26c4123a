//! Any JSON is an application, or has an error that can be shown; so for schemas.
#![no_main]

use distributary_sql::{Application, InputSchema, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Application::from_json(text) {
        Ok(application) => {
            if let Err(errors) = Program::compile(&application) {
                assert!(!errors.0.is_empty(), "a failure has errors");
            }
        }
        Err(message) => assert!(!message.is_empty(), "the error has a text"),
    }
    if let Err(message) = InputSchema::from_json(text) {
        assert!(!message.is_empty(), "the error has a text");
    }
});
