//! Row-valued log parsers.

/// Whether a function of this name parses a log line into a row value.
pub(crate) fn is_log_parser(name: &str) -> bool {
    matches!(
        name,
        "VARIABLE_COLUMN_LOG_PARSE"
            | "FIXED_COLUMN_LOG_PARSE"
            | "REGEX_LOG_PARSE"
            | "W3C_LOG_PARSE"
            | "SYS_LOG_PARSE"
            | "FAST_REGEX_LOG_PARSE"
    )
}
