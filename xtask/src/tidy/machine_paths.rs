//! No file names a path that exists on one machine only.

/// Paths of one machine, written in two parts, or this file would be the first finding.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/t/"),
    concat!("/tm", "p/brief"),
];

/// Finds the lines with a path of one machine.
pub(super) fn check(name: &str, text: &str, findings: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        let mut paths = MACHINE_PATHS.iter();
        if let Some(path) = paths.find(|path| line.contains(**path)) {
            let number = index + 1;
            findings.push(format!(
                "{name}:{number}: names {path}, a path of one machine"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found() {
        let mut findings = Vec::new();
        for path in MACHINE_PATHS {
            check("x.sh", &format!("one\ncd {path}x\n"), &mut findings);
        }
        assert_eq!(findings.len(), MACHINE_PATHS.len());
        assert!(findings[0].starts_with("x.sh:2: "), "{findings:?}");
    }
}
