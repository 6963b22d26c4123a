//! Completions, manual pages and the version.

use std::fs;

use crate::daemon::Dir;
use crate::served::Served;

#[test]
fn completions_and_manual_pages_have_every_command() {
    let (served, dir) = (Served::new(&[]), Dir::new());
    for shell in ["bash", "zsh", "fish"] {
        let text = served.run(&["completions", shell]).expect(0).text();
        assert!(text.contains("redrive"), "{shell}");
        assert!(text.contains("dead-letter"), "{shell}");
    }
    served.run(&["man", &dir.text("man1")]).expect(0);
    let page = |name: &str| fs::read_to_string(dir.path("man1").join(name)).unwrap();
    assert!(page("distributary.1").contains("redrive"));
    assert!(page("distributary-run.1").contains("dead"));
    let file = dir.text("file");
    fs::write(&file, "").unwrap();
    let done = served.run(&["man", &file]).expect(1);
    assert!(
        done.err.contains("cannot write manual pages"),
        "{}",
        done.err
    );

    let version = served.run(&["--version"]).expect(0).text();
    assert!(version.starts_with(concat!("distributary ", env!("CARGO_PKG_VERSION"))));
}
