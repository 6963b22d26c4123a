//! The guide to kinds against the registry.

use distributary_adapters::outputs::KINDS;

const GUIDE: &str = include_str!("../../../../docs/guides/outputs.md");

/// A target for each kind, as behind the colon of a shorthand.
const TARGETS: &[(&str, &str)] = &[
    ("http", "http://127.0.0.1/"),
    ("sns", "arn:aws:sns:eu-west-1:123456789012:orders"),
    (
        "sqs",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
    ),
    ("stdout", ""),
];

#[test]
fn the_guide_has_every_kind_and_every_permission() {
    for kind in KINDS {
        let name = kind.name;
        let row = GUIDE.lines().any(|line| {
            let is_row = line.starts_with("| `");
            is_row && line.contains(&format!("`{name}`"))
        });
        assert!(row, "docs/guides/outputs.md has no row for {name}");
        if kind.feature.is_some_and(|feature| !feature.is_on) {
            continue;
        }

        let target = TARGETS.iter().find(|(kind, _)| *kind == name);
        let target = target.map_or("orders", |(_, target)| target);
        let settings = kind.parse(kind.shorthand(target).unwrap()).unwrap();
        for permission in settings.permissions() {
            for action in permission.actions {
                let named = format!("`{action}`");
                assert!(GUIDE.contains(&named), "the guide has not {named}");
            }
        }
    }
}
