//! The repository as it is now is tidy, and small sample sources break each rule.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use xtask::tidy;

#[test]
fn the_repository_is_tidy() {
    let report = tidy::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    assert!(
        report.findings.is_empty(),
        "\n{}",
        report.findings.join("\n")
    );
}

/// The report on a crate `sample` with these files (paths below `crates/sample`).
fn report(files: &[(&str, &str)]) -> tidy::Report {
    let root = tempfile::tempdir().unwrap();
    let init = Command::new("git")
        .args(["init", "--quiet"])
        .current_dir(root.path())
        .status();
    assert!(init.unwrap().success());

    for (name, text) in files {
        let path = root.path().join("crates/sample").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    tidy::check_crate(root.path(), "sample").unwrap()
}

fn findings(text: &str) -> Vec<String> {
    report(&[("src/lib.rs", text)]).findings
}

fn functions(report: &tidy::Report) -> &str {
    report.table[1].split_whitespace().nth(1).unwrap()
}

/// A function of 10 tokens and four for each statement, with enough blank lines.
fn function(name: &str, statements: usize) -> String {
    let body = "    a += 1;\n".repeat(statements);
    format!("fn {name}(mut a: u8) {{\n\n{body}\n}}\n")
}

#[test]
fn a_short_function_holds_all_limits() {
    assert_eq!(findings(&function("short", 37)), [""; 0]);
    // The same tokens stand in the list of the longest: `fn short(mut a: u8) { … }`.
    let report = report(&[("src/lib.rs", &function("short", 37))]);
    assert!(
        report.table[2].contains("158 tokens,  3.85 a line  crates/sample/src/lib.rs:1 short"),
        "{:?}",
        report.table
    );
}

#[test]
fn one_function_in_ten_may_have_more_tokens_than_the_90th_percentile() {
    let mut text: String = (0..9).map(|n| function(&format!("f{n}"), 1)).collect();
    text.push_str(&function("long", 40));
    assert_eq!(findings(&text), [""; 0]);

    text.push_str(&function("longer", 50));
    assert_eq!(
        findings(&text),
        ["sample: 170 tokens, the 90th percentile of functions (at most 160)"]
    );
}

#[test]
fn a_function_of_more_than_400_tokens_needs_a_reason() {
    let short: String = (0..20).map(|n| function(&format!("f{n}"), 1)).collect();
    // Blank lines enough for a long function.
    let blank = "fn blank() {\n\n\n}\n";
    let long = function("long", 100);

    let found = findings(&format!("{short}{blank}{long}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains(" long: 410 tokens (at most 400"),
        "{found:?}"
    );

    for above in [
        "// tidy: long because a table reads best in one piece.\n",
        "// tidy: long because a table\n// reads best in one piece.\n/// A doc comment.\n#[inline]\n",
        "/// A doc comment.\n// tidy: long because a table reads best in one piece.\n#[inline]\n",
    ] {
        assert_eq!(
            findings(&format!("{short}{blank}{above}{long}")),
            [""; 0],
            "{above}"
        );
    }
    for above in [
        "// tidy: long because\n",
        "// tidy: long because of another function.\nconst A: u8 = 0;\n",
        "/// tidy: long because the reason stands in a doc comment.\n",
    ] {
        let found = findings(&format!("{short}{blank}{above}{long}"));
        assert_eq!(found.len(), 1, "{above}: {found:?}");
    }
}

#[test]
fn tokens_of_a_line_are_counted_as_rustc_lexes() {
    let body = |line: &str| format!("fn f<'a>() {{\n\n    {line}\n}}\n");
    // 26 tokens and the braces, on three lines.
    let found = findings(&body(
        r#"let x: &'a b = a::<u8>(1..=2, "c d", 'e', g >>= 3);"#,
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("9.33 tokens a line"), "{found:?}");
    assert_eq!(findings(&body("a(1, 2, 3, 4, 5, 6, 7, 8);")), [""; 0]);
}

#[test]
fn comments_and_blank_lines_are_no_lines_of_code() {
    let text = "fn f() {\n\n    // One.\n    // Two.\n    /* Three\n    and four. */\n\n    \
                a(b(c(d(e(f(g(h(i(1)))))))));\n}\n";
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("10.33 tokens a line"), "{found:?}");
}

#[test]
fn blank_lines_part_the_steps_of_functions() {
    assert_eq!(
        findings("fn f() {\n    a();\n}\n"),
        ["sample: 0.00 % blank lines in functions (at least 1.5)"]
    );
}

#[test]
fn pronouns_are_counted_in_a_thousand_words_of_comments() {
    let words = "// one two three four five six seven eight nine ten\n".repeat(10);
    let found = findings(&format!(
        "{words}// the part for whoever reads\n/// and WHAT is read\nconst A: u8 = 0;\n"
    ));
    assert_eq!(
        found,
        ["sample: 18.3 who/what in 1,000 words of comments (at most 4)"]
    );

    let found = findings(&format!("{words}//! with its parts, and it's whole\n"));
    assert_eq!(
        found,
        ["sample: 18.9 it/its in 1,000 words of comments (at most 14)"]
    );
}

#[test]
fn code_and_strings_are_no_words_of_comments() {
    let text = "/// One of `what` and `who\n/// it` and [`its`].\n///\n/// ```\n/// what(it, who);\n\
                /// ```\nconst A: &str = \"// What it is\";\nconst WHAT: u8 = b'\"';\n";
    assert_eq!(findings(text), [""; 0]);
}

#[test]
fn no_sentence_starts_with_a_pronoun() {
    let words = "// one two three four five six seven eight nine ten\n".repeat(100);
    for (line, text) in [
        (1, "/// What is read.\n"),
        (1, "//! who reads\n"),
        (1, "const A: u8 = 0; // Those of one day.\n"),
        (2, "// A thing\n// is done. They know.\n"),
        (2, "/// A thing is done.\n/// Nobody knows.\n"),
        (3, "/// A heading\n///\n/// it is\n"),
        (2, "/// A list:\n/// - Somebody.\n"),
        (2, "/* A block\nwith a stop.) Whoever. */\n"),
        (2, "/* A /* nested */ block.\nWhose. */\n"),
    ] {
        let found = findings(&format!("{text}\nconst B: u8 = 0;\n{words}"));
        let start = format!("crates/sample/src/lib.rs:{line}: a sentence starts with ");
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&start), "{text}: {found:?}");
    }

    for text in [
        "// One,\n// it seems, e.g. it.\n",
        "/// `Type`: it is.\n",
        "// `Type` what.\n",
        "const A: u8 = 0; // one\n",
    ] {
        assert_eq!(
            findings(&format!("{text}\nconst B: u8 = 0;\n{words}")),
            [""; 0],
            "{text}"
        );
    }
}

#[test]
fn a_line_has_at_most_100_columns() {
    let long = "x".repeat(100);
    let wide = ["crates/sample/src/lib.rs:1: 103 columns (at most 100)"];
    assert_eq!(findings(&format!("// {long}\n")), wide);
    let code = format!("const {}: &str = A;\n", "X".repeat(86));
    assert_eq!(findings(&code), wide);
    let text = format!("const A: &str = \"{}\"; // one\n", "x".repeat(77));
    assert_eq!(findings(&text), wide);

    assert_eq!(findings(&format!("// {}\n", "x".repeat(97))), [""; 0]);
    assert_eq!(findings(&format!("// https://{long}\n")), [""; 0]);
    assert_eq!(findings(&format!("const A: &str = \"{long}\";\n")), [""; 0]);
}

#[test]
fn a_file_has_at_most_1000_production_lines() {
    let lines = |count: usize| "const _: u8 = 0;\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500));
    let of = |count: usize| {
        let report = report(&[("src/lib.rs", &(lines(count) + &tests))]);
        (report.findings.len(), report.notes.len())
    };
    assert_eq!(of(800), (0, 0));
    assert_eq!(of(801), (0, 1));
    assert_eq!(of(1_000), (0, 1));
    assert_eq!(of(1_001), (1, 0));
}

#[test]
fn tests_are_not_measured() {
    let bad = "/// What is bad.\nfn bad() {\n    a(b(c(d(e(f(g(h(i(1)))))))));\n}\n";
    let nested = format!("#[cfg(all(test, unix))]\nimpl A {{\n{bad}}}\n#[cfg(test)]\n{bad}");
    let declared = "#[cfg(test)]\nmod alone;\n#[cfg(test)]\n#[path = \"other_name.rs\"]\nmod c;\n\
                    mod sub;\n";
    let report = report(&[
        ("src/lib.rs", &format!("{declared}{nested}")),
        ("src/alone.rs", bad),
        ("src/alone/inside.rs", bad),
        ("src/other_name.rs", bad),
        ("src/tests.rs", bad),
        ("src/other_tests.rs", bad),
        ("src/sub.rs", "#[cfg(test)]\nmod alone;\n"),
        ("src/sub/alone.rs", bad),
        ("tests/it.rs", bad),
        ("examples/one.rs", bad),
        ("fuzz/src/main.rs", bad),
    ]);
    assert_eq!(report.findings, [""; 0]);
    assert_eq!(functions(&report), "0");
}

#[test]
fn functions_of_all_kinds_are_measured() {
    let report = report(&[
        (
            "src/lib.rs",
            "mod inside {\n    fn a() {}\n}\ntrait T {\n    fn without_body();\n    fn b() {}\n}\n\
             impl T for A {\n    async fn c() {}\n}\n#[cfg(any(test, unix))]\nfn d() {}\n",
        ),
        ("src/sub/alone.rs", "fn e() {\n    fn part_of_e() {}\n}\n"),
    ]);
    assert_eq!(functions(&report), "5");
}

#[test]
fn a_crate_that_is_not_there_is_an_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert!(tidy::check_crate(&root, "distributary-wire").is_ok());
    assert!(tidy::check_crate(&root, "wires").is_err());
}
