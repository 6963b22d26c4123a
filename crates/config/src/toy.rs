//! A kind of output that only this test has: everything that a new kind needs, in one file.

use async_trait::async_trait;
use distributary_adapters::keys::{Absent, Form, Key};
use distributary_adapters::kind::{
    BuildContext, BuildError, Finding, Kind, Severity, Surroundings, Target,
};
use distributary_adapters::outputs::{BuiltOutput, OutputKind};
use distributary_adapters::values::{Expected, Size};
use distributary_core::engine::Order;
use distributary_core::output::{KeepsOrder, Trouble, TroubleKind};
use serde::Deserialize;

use crate::resolve::resolve;
use crate::{Input, Registry};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    queue: String,
    region: Option<String>,
    limits: Option<Limits>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    size: Size,
}

const LIMITS: &[Key] = &[Key {
    name: "size",
    form: Form::Size,
    absent: Absent::Required,
    help: "Largest message",
    example: "1MiB",
}];

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "toy";
    const SUMMARY: &'static str = "A queue that keeps no order.";
    const KEYS: &'static [Key] = &[
        Key {
            name: "queue",
            form: Form::Text("QUEUE"),
            absent: Absent::Required,
            help: "Queue to write to",
            example: "q",
        },
        Key {
            name: "region",
            form: Form::Text("REGION"),
            absent: Absent::Inherited(""),
            help: "Region of the queue",
            example: "eu-west-1",
        },
        Key {
            name: "limits",
            form: Form::Table(LIMITS),
            absent: Absent::Default(""),
            help: "Limits of the queue",
            example: "",
        },
    ];

    fn shorthand(rest: &str) -> Result<toml::Table, Expected> {
        Ok([("queue".to_owned(), rest.into())].into_iter().collect())
    }

    fn default_name(&self) -> String {
        self.queue.clone()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("toy {self:?}"),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::Nothing
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let empty = self.queue.is_empty();
        empty
            .then(|| "queue is empty".to_owned())
            .into_iter()
            .collect()
    }

    async fn build(&self, _context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        Err(BuildError::Failed {
            message: "a toy".to_owned(),
            source: Trouble::new(TroubleKind::Missing, "a toy"),
        })
    }

    async fn check(&self, _context: &BuildContext) -> Vec<Finding> {
        vec![Finding {
            subject: self.queue.clone(),
            finding: "a toy".to_owned(),
            severity: Severity::Warning,
            advice: String::new(),
        }]
    }
}

/// The kinds of this build, and one more: one word.
fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.outputs.push(Kind::of_output::<Settings>());
    registry
}

fn file(text: &str) -> Result<crate::Process, String> {
    let file = (std::path::Path::new("d.toml"), text.as_bytes());
    resolve(&registry(), &Input::default(), Some(file)).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn a_kind_in_one_file_and_one_word_is_known_everywhere() {
    let mut input = Input::default();
    input.flag(&registry(), "from", "a");
    input.flag(&registry(), "region", "eu-west-1");
    input.outputs_of_flags(&["mine=toy:q".to_owned()]);
    let process = resolve(&registry(), &input, None).unwrap();
    let output = &process.fan_outs[0].outputs[0];
    assert_eq!(
        (output.name.as_str(), output.settings.kind()),
        ("mine", "toy")
    );
    let settings = format!("{:?}", output.settings);
    assert!(
        settings.contains("region: Some(\"eu-west-1\")"),
        "{settings}"
    );

    let misspelt = "from = \"a\"\n[[output]]\ntype = \"toy\"\nqueu = \"q\"";
    let told = file(misspelt).unwrap_err();
    assert!(told.contains("did you mean \"queue\"?"), "{told}");
    assert!(told.contains("missing key \"queue\""), "{told}");
    let told = file("from = \"a\"\n[[output]]\ntype = \"tyo\"").unwrap_err();
    assert!(told.contains("did you mean \"toy\"?"), "{told}");
    let told = file("from = \"a\"\n[[output]]\ntype = \"toy\"\nqueue = \"\"").unwrap_err();
    assert!(told.contains("queue is empty"), "{told}");
}

#[test]
fn an_order_that_a_kind_cannot_keep_is_a_mistake_or_falls_to_the_best() {
    let output = "from = \"a\"\n[[output]]\ntype = \"toy\"\nqueue = \"q\"\n";
    let told = file(&format!("{output}order = \"strict\"")).unwrap_err();
    assert!(
        told.contains(
            "key order: an output of type toy cannot keep the order strict; expected unordered"
        ),
        "{told}"
    );
    let own = file(&format!("{output}order = \"unordered\"")).unwrap();
    assert_eq!(own.notes, Vec::<String>::new());

    let inherited = file(&format!("order = \"strict\"\n{output}")).unwrap();
    assert_eq!(inherited.fan_outs[0].outputs[0].order, Order::Unordered);
    assert!(
        inherited.notes[0].contains("output q: the order is unordered"),
        "{:?}",
        inherited.notes
    );
}

#[test]
fn a_key_may_be_a_table_of_keys() {
    let output = "from = \"a\"\n[[output]]\ntype = \"toy\"\nqueue = \"q\"\norder = \"unordered\"\n";
    let with = |limits: &str| file(&format!("{output}limits = {limits}"));
    let process = with("{ size = \"2MiB\" }").unwrap();
    let settings = format!("{:?}", process.fan_outs[0].outputs[0].settings);
    assert!(settings.contains("Size(2097152)"), "{settings}");

    let told = with("{ siz = \"2MiB\" }").unwrap_err();
    assert!(told.contains("limits missing key \"size\""), "{told}");
    assert!(told.contains("did you mean \"size\"?"), "{told}");
    let told = with("{ size = 2 }").unwrap_err();
    assert!(
        told.contains("key output 1 limits size: 2 is a number"),
        "{told}"
    );
    assert!(with("7").unwrap_err().contains("expected a table"));
}
