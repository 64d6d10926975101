//! `docs/models.md` says what the manifests, the plugins and the goldens say.

use monocle_tests::models_page::{COMMAND, manifest_part, parity_heading, plugin_part, plugins};
use monocle_tests::oracle::Oracle;
use monocle_tests::project;

fn page() -> String {
    std::fs::read_to_string(project::root().join("docs/models.md")).unwrap_or_default()
}

/// Line by line, so that the first that is not as it would be written is named.
fn same(written: &str, would_be: &str) {
    let mut lines = written.lines();
    for line in would_be.lines() {
        let found = lines.next().unwrap_or_default();
        assert_eq!(
            found, line,
            "docs/models.md is stale: write it anew with `{COMMAND}`"
        );
    }
    assert_eq!(
        lines.next(),
        None,
        "docs/models.md has a line too many: write it anew with `{COMMAND}`"
    );
}

#[test]
fn plugins_and_manifests_are_as_they_would_be_written() {
    let page = page();
    let heading = parity_heading();
    let (before, after) = page.split_once(&heading).unwrap_or_else(|| {
        panic!("docs/models.md says otherwise what parity means: write it anew with `{COMMAND}`")
    });
    same(before, &plugin_part());
    let rows = after.find("\n\n").map_or(after.len(), |end| end + 1);
    same(&after[rows..], &manifest_part());
}

/// The figures are the last parity run's; what was compared stands in the goldens.
#[test]
fn every_checkpoint_has_its_cases_in_the_table() {
    let page = page();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| *line != "## Parity")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").collect())
        .collect();
    let told: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(told, project::checkpoints(), "checkpoints: `{COMMAND}`");
    for row in rows {
        let [folder, stands_for, plugin, judge, cases] = row[..] else {
            panic!("{row:?} has {} cells", row.len());
        };
        let oracle = Oracle::open(&project::oracle(folder));
        assert_eq!(stands_for, oracle.text("stands_for"), "{folder}: `{COMMAND}`");
        assert_eq!(judge, oracle.reference(), "{folder}: `{COMMAND}`");
        let plugin = plugin.trim_matches('`');
        assert!(plugins().iter().any(|name| name == plugin), "{folder}: {plugin}");
        let cases: Vec<&str> = cases
            .split("; ")
            .filter_map(|case| Some(case.split_once(": ")?.0))
            .collect();
        assert_eq!(cases, oracle.cases(), "{folder}: `{COMMAND}`");
    }
}
