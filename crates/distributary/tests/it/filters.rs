//! Filters of outputs, and `filter test`.

use std::fs;

use crate::daemon::Dir;
use crate::served::{Served, finish};

/// Records with the keys `eu-N` and `us-N` and the temperature N.
fn records(n: usize) -> Vec<(String, String)> {
    let area = |i: usize| if i.is_multiple_of(2) { "eu" } else { "us" };
    (0..n)
        .map(|i| (format!("{}-{i}", area(i)), format!(r#"{{"t": {i}}}"#)))
        .collect()
}

fn sorted_lines(dir: &Dir, name: &str) -> Vec<String> {
    let text = fs::read_to_string(dir.path(name)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn each_output_gets_the_records_that_match() {
    let (served, dir) = (Served::new(&[("input", 2)]), Dir::new());
    let all = records(200);
    let pairs: Vec<(&str, String)> = all.iter().map(|(k, d)| (k.as_str(), d.clone())).collect();
    served.put("input", &pairs);
    served.put("input", &[("eu-x", "no JSON".to_owned())]);

    let config = dir.path("d.toml");
    let output = |name: &str, keys: &str| {
        format!("[[output]]\ntype = \"file\"\npath = \"{name}\"\nformat = \"raw\"\n{keys}\n")
    };
    let hot = r#"filter = '{"data": {"t": [{"numeric": [">=", 190]}]}}'"#;
    let text = [
        "from = \"input\"\nuntil-caught-up = true\n".to_owned(),
        output("hot", hot),
        output(
            "hot-eu",
            &format!("{hot}\nkeys = \"eu-*\"\non-not-json = \"pass\""),
        ),
        output(
            "none",
            r#"filter = ['{"partitionKey": ["x"]}', '{"data": {"t": [-1]}}']"#,
        ),
    ];
    fs::write(&config, text.concat()).unwrap();
    finish(dir.run(&served, &["-c", config.to_str().unwrap()]), b"").expect(0);

    let expected = |keep: &dyn Fn(usize) -> bool| {
        let lines = (190..200).filter(|i| keep(*i));
        lines
            .map(|i| format!(r#"{{"t": {i}}}"#))
            .collect::<Vec<_>>()
    };
    assert_eq!(sorted_lines(&dir, "hot"), expected(&|_| true));
    let mut eu = expected(&|i| i.is_multiple_of(2));
    eu.insert(0, "no JSON".to_owned());
    assert_eq!(sorted_lines(&dir, "hot-eu"), eu);
    assert_eq!(fs::read_to_string(dir.path("none")).unwrap_or_default(), "");
}

#[test]
fn filter_test_prints_a_word_for_each_line() {
    let dir = Dir::new();
    let (pattern, lines) = (dir.path("pattern.json"), dir.path("lines"));
    fs::write(&pattern, r#"{"data": {"a": [1]}}"#).unwrap();
    fs::write(&lines, "{\"a\": 1}\n{\"a\": 2}\ntext").unwrap();
    let (pattern, lines) = (pattern.to_str().unwrap(), lines.to_str().unwrap());
    let served = Served::new(&[]);
    let done = served
        .run(&["filter", "test", "--pattern", pattern, lines])
        .expect(0);
    assert_eq!(done.text(), "match\nno\nnot-json\n");

    fs::write(pattern, r#"{"data": {"a": [{"prefix": 1}]}}"#).unwrap();
    let done = served
        .run(&["filter", "test", "--pattern", pattern])
        .expect(2);
    let told = done.err;
    assert!(
        told.contains("data.a[0].prefix: expected a string, found a number"),
        "{told}"
    );
}
