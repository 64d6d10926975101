//! `monocle doctor`: looks at what came with the program, at the caches and the plugins, tries each engine, and says what is wrong and what to do.
//! It changes nothing.

mod engines;
mod kernels;

use clap::Args;
use monocle_packages::installed::Home;
use monocle_runtime::model::locate::{self, Places};
use monocle_runtime::plugin::wasm::component;
use monocle_runtime::program;
use serde::Serialize;

use super::progress::DownloadBar;
use super::{about, check, output};

#[derive(Debug, Args)]
pub struct Doctor {
    /// Hash every file of every model, also those that were found right before and have not changed since
    #[arg(long)]
    again: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    is_well: bool,
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Something is wrong: exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0} of {1} things are not as they should be")]
struct Unwell(usize, usize);

impl Doctor {
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let mut findings = vec![own(), compiled()];
        findings.extend(with_the_program());
        findings.extend(plugins(&places));
        findings.extend(unused(&places));
        findings.extend(models(&places, self.again, self.json));
        match self.json {
            true => output::print_json(&findings)?,
            false => output::print(&text(&findings))?,
        }
        let unwell = findings.iter().filter(|finding| !finding.is_well).count();
        match unwell {
            0 => Ok(()),
            unwell => Err(Unwell(unwell, findings.len()).into()),
        }
    }
}

impl Finding {
    fn well(what: &'static str, said: String) -> Self {
        Self {
            what,
            is_well: true,
            said,
            hint: None,
        }
    }

    fn unwell(what: &'static str, said: String, hint: &str) -> Self {
        Self {
            what,
            is_well: false,
            said,
            hint: Some(hint.to_owned()),
        }
    }
}

/// The program itself, and the machine.
fn own() -> Finding {
    const WHAT: &str = "program";
    let release = format!("monocle {} on {}", about::VERSION, check::machine());
    match program::own_file() {
        Ok(file) => Finding::well(WHAT, format!("{release}: `{}`", file.display())),
        Err(error) => Finding::unwell(
            WHAT,
            format!("{release}: {error}"),
            "nothing that came with the program is found",
        ),
    }
}

/// What lies beside the program, and the engines tried with it.
fn with_the_program() -> Vec<Finding> {
    const WHAT: &str = "what came with the program";
    let Some(shipped) = locate::shipped() else {
        let said = "no folder `share/monocle` lies beside the program's folder".to_owned();
        let hint = "the archive's folders stay together; where a program elsewhere is wanted, a link to `bin/monocle` does";
        return vec![Finding::unwell(WHAT, said, hint)];
    };
    let mut findings = vec![Finding::well(WHAT, format!("`{}`", shipped.display()))];
    findings.extend(kernels::found());
    findings.extend(engines::tried(&shipped));
    findings
}

/// Plugins that a user installed and that came with the program, too, since.
fn unused(places: &Places) -> Option<Finding> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?;
    let installed = Home::of(&home).list().ok()?;
    let shipped = std::fs::canonicalize(locate::shipped()?.join("plugins")).ok()?;
    let both = installed.packages.keys().filter(|name| {
        let used = places.plugins.path(name);
        used.is_ok_and(|path| path.starts_with(&shipped))
    });
    let both: Vec<String> = both.map(|name| format!("`{name}`")).collect();
    (!both.is_empty()).then(|| {
        Finding::unwell(
            "plugin",
            format!(
                "installed and not used, as it comes with this version: {}",
                both.join(", ")
            ),
            "`monocle plugins remove NAME` removes it",
        )
    })
}

/// The cache of compiled plugins.
fn compiled() -> Finding {
    const WHAT: &str = "compiled plugins";
    let (folder, found) = match component::examine_kept() {
        Ok(found) => found,
        Err(reason) => {
            return Finding::unwell(
                WHAT,
                format!("plugins are compiled each time: {reason}"),
                "`MONOCLE_CACHE` names another folder",
            );
        }
    };
    let said = format!(
        "`{}`: {} as written, {} of other versions, {} damaged",
        folder.display(),
        found.sound,
        found.others,
        found.damaged.len()
    );
    match found.damaged.is_empty() {
        true => Finding::well(WHAT, said),
        false => {
            let names = found.damaged.iter().map(|path| format!("`{}`", path.display()));
            let names: Vec<String> = names.collect();
            Finding::unwell(
                WHAT,
                format!("{said}: {}", names.join(", ")),
                "they are not run, and are replaced when their plugins are next used; if it happens again, the disk or another program \
                 changes them",
            )
        }
    }
}

/// Plugins that cannot be used.
fn plugins(places: &Places) -> Vec<Finding> {
    const WHAT: &str = "plugin";
    let all = places.plugins.list();
    let count = all.len();
    let bad: Vec<Finding> = all
        .into_iter()
        .filter_map(|found| {
            let reason = found.stamp.err()?;
            let said = format!("`{}`: {reason}", found.path.display());
            Some(Finding::unwell(WHAT, said, "`monocle plugins` lists them all"))
        })
        .collect();
    match bad.is_empty() {
        true => vec![Finding::well(
            WHAT,
            format!("{count} are installed, each with a stamp that fits"),
        )],
        false => bad,
    }
}

/// Models in the hub's cache.
fn models(places: &Places, again: bool, quiet: bool) -> Vec<Finding> {
    const WHAT: &str = "model";
    let mut bar = DownloadBar::new(quiet);
    let mut findings = Vec::new();
    for cached in places.hub.cached() {
        for snapshot in &cached.snapshots {
            let name = format!("{} at {}", cached.repo, snapshot.commit);
            let damaged = places
                .hub
                .examine(&snapshot.folder, again, &mut |progress| bar.update(progress));
            let hint = format!(
                "`monocle pull {}` fetches what is missing or damaged",
                cached.repo
            );
            findings.push(match (snapshot.is_complete, damaged.is_empty()) {
                (_, false) => {
                    let damaged: Vec<String> = damaged.iter().map(|name| format!("`{name}`")).collect();
                    let said = format!("{name}: not what they are called: {}", damaged.join(", "));
                    Finding::unwell(WHAT, said, &hint)
                }
                (true, true) => Finding::well(WHAT, format!("{name}: whole")),
                // Somebody may have wanted a part of it.
                (false, true) => Finding {
                    hint: Some(hint),
                    ..Finding::well(WHAT, format!("{name}: in part"))
                },
            });
        }
    }
    bar.finish();
    findings
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mark = if finding.is_well { "well " } else { "WRONG" };
        let hint = finding.hint.iter().map(|hint| format!("       hint: {hint}\n"));
        format!(
            "{mark}  {}: {}\n{}",
            finding.what,
            finding.said,
            hint.collect::<String>()
        )
    };
    findings.iter().map(line).collect()
}
