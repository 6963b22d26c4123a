//! The repository as it is now is tidy.

use std::path::Path;

#[test]
fn the_repository_is_tidy() {
    let report = xtask::tidy::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    assert!(
        report.findings.is_empty(),
        "\n{}",
        report.findings.join("\n")
    );
}
