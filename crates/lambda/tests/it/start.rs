//! The start of a function: the configuration, and reasons not to start.

use std::time::Duration;

use crate::function::{Answer, Function};
use crate::streams::{Streams, event};

const TIMEOUT: Duration = Duration::from_secs(30);

async fn refused(toml: &str) -> String {
    let mut function = Function::start(&[("DISTRIBUTARY_CONFIG_TOML", toml)], TIMEOUT).await;
    let (answer, _) = function.answer().await;
    let Answer::Start(_) = answer else {
        panic!("{answer:?}");
    };
    answer.message().to_owned()
}

#[tokio::test]
async fn a_configuration_that_a_function_cannot_follow_is_refused_at_the_start() {
    let told = refused("[[output]]\nstream = \"a\"\npaused = true\n").await;
    assert!(
        told.contains("the output a: a function keeps no position"),
        "{told}"
    );
    let told = refused("[[output]]\ntype = \"file\"\npath = \"a.jsonl\"\n").await;
    assert!(told.contains("the disk of a function is gone"), "{told}");
    let told = refused("dead-letter = \"file:dead.jsonl\"\n[[output]]\nstream = \"a\"\n").await;
    assert!(told.contains("the disk of a function is gone"), "{told}");
    let told = refused("[[output]]\nstreem = \"a\"\n").await;
    assert!(
        told.contains("DISTRIBUTARY_CONFIG_TOML:2") && told.contains("stream"),
        "{told}"
    );
}

#[tokio::test]
async fn a_pump_that_keeps_state_is_refused_at_the_start() {
    let told = refused(
        r#"
[[pump]]
name = "counts"
sql = '''CREATE OR REPLACE STREAM "OUT" (n INTEGER);
CREATE OR REPLACE PUMP "P" AS INSERT INTO "OUT" SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001"
GROUP BY STEP("SOURCE_SQL_STREAM_001".ROWTIME BY INTERVAL '10' SECOND);'''
columns = [{ name = "TICKER", type = "VARCHAR(4)" }]
[[output]]
stream = "a"
pump = "counts"
"#,
    )
    .await;
    assert!(
        told.contains("the pump counts has windows or joins"),
        "{told}"
    );
}

#[tokio::test]
async fn keys_come_from_variables_and_the_file_in_the_package() {
    let streams = Streams::with(&["a", "b"]).await;
    let endpoint = streams.handle.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("DISTRIBUTARY_TO", "a,b"),
    ];
    let mut function = Function::start(&variables, TIMEOUT).await;
    let (answer, _) = function.invoke(&event(1..4)).await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("b").await, ["1", "2", "3"]);

    let package = tempfile::tempdir().unwrap();
    let file = package.path().join("distributary.toml");
    std::fs::write(&file, "from = \"input\"\n[[output]]\nstream = \"a\"\n").unwrap();
    let root = package.path().to_str().unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("LAMBDA_TASK_ROOT", root),
    ];
    let mut function = Function::start(&variables, TIMEOUT).await;
    let (answer, _) = function.invoke(&event(4..6)).await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("a").await, ["1", "2", "3", "4", "5"]);
}
