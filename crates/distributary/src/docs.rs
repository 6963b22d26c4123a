//! Pages of docs/ that are generated from the program.

use std::path::Path;

/// Fails if the page at `path` in the repository differs from `text`. With `UPDATE_DOCS` set, writes
/// the page instead.
pub(crate) fn hold(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, text).expect("the page can be written");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{path} is stale: UPDATE_DOCS=1 cargo test -p distributary docs"
    );
}
