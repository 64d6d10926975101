//! `monocle plugins test`: everything that a host relies on, asked of a plugin and the model that it is for.

mod answers;
mod plans;
mod prompts;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use monocle_runtime::model::locate::Places;
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions};
use serde::Serialize;

use super::project::Project;
use crate::output;
use crate::overdue::{self, Watch};
use crate::request::EngineArguments;
use crate::trace::Within;
use crate::trace::compare::Tolerances;
use report::{Check, Verdict};

#[derive(Debug, Args)]
pub struct Test {
    /// A plugin's folder, which has a manifest called as the plugin; or a model, as `run` takes it
    #[arg(default_value = ".")]
    what: String,

    /// Prompts that you have accepted, and traces of a reference implementation [default: `goldens` in the plugin's folder]
    #[arg(long, value_name = "FOLDER")]
    goldens: Option<PathBuf>,

    /// Accept the prompts that the plugin makes now
    #[arg(long)]
    accept: bool,

    /// Ask nothing that needs the model's weights
    #[arg(long)]
    plans_only: bool,

    #[command(flatten)]
    engine: EngineArguments,

    #[command(flatten)]
    within: Within,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Tested {
    monocle: &'static str,
    model: String,
    plugins: Vec<String>,
    checks: Vec<Check>,
}

/// What is asked, of which model, and what it is compared with.
struct Asked<'a> {
    goldens: &'a Path,
    pictures: &'a Path,
    accept: bool,
    plans_only: bool,
    within: Tolerances,
}

impl Test {
    pub fn run(self) -> anyhow::Result<()> {
        let project = match Path::new(&self.what) {
            folder if folder.is_dir() => Project::open(folder)?,
            _ => None,
        };
        let folder = project.as_ref().map_or(Path::new("."), |project| &project.folder);
        let goldens = self.goldens.clone().unwrap_or_else(|| folder.join("goldens"));
        let asked = Asked {
            goldens: &goldens,
            pictures: folder,
            accept: self.accept,
            plans_only: self.plans_only,
            within: self.within.tolerances(),
        };
        let tested = tested(project.as_ref(), &self.what, self.engine, &asked)?;
        match self.json {
            true => output::print_json(&tested)?,
            false => output::print(&format!(
                "{} on `{}`\n\n{}",
                tested.plugins.join(", "),
                tested.model,
                report::text(&tested.checks)
            ))?,
        }
        tested.must_pass()
    }
}

impl Tested {
    fn must_pass(&self) -> anyhow::Result<()> {
        let failed = self.checks.iter().filter(|check| check.failed()).count();
        anyhow::ensure!(failed == 0, "{failed} of {} checks failed", self.checks.len());
        Ok(())
    }
}

/// Tests a project's plugin; gives the report as JSON. A failure is an error that has the report's text.
pub fn of_project(project: &Project) -> anyhow::Result<Vec<u8>> {
    let goldens = project.folder.join("goldens");
    let asked = Asked {
        goldens: &goldens,
        pictures: &project.folder,
        accept: false,
        plans_only: false,
        within: Within::default().tolerances(),
    };
    let tested = tested(Some(project), "", EngineArguments::default(), &asked)?;
    tested.must_pass().with_context(|| report::text(&tested.checks))?;
    Ok(serde_json::to_vec_pretty(&tested)?)
}

fn tested(
    project: Option<&Project>,
    what: &str,
    engine: EngineArguments,
    asked: &Asked,
) -> anyhow::Result<Tested> {
    let mut places = Places::from_env();
    let model = match project {
        Some(project) => {
            places.plugins = project.first_of(&places.plugins);
            let built = project.built();
            anyhow::ensure!(
                built.is_file(),
                "`{}` is not there\n\nhint: `monocle plugins build` makes it",
                built.display()
            );
            project.manifest().display().to_string()
        }
        None => what.to_owned(),
    };
    let declaration = places.find(&model, &mut |_| {})?;
    let watch = Watch::over("the plugin", overdue::USUAL);
    let model = Model::open(&places, &declaration, OpenOptions::default(), &mut |_| {})?;
    let options = SchedulerOptions {
        memory_limit: engine.memory_limit,
        ..SchedulerOptions::default()
    };
    let mut scheduler = Scheduler::new(Arc::new(model), engine.exact().backend()?, options);
    watch.went_on();
    let checks = asked.checks(&mut scheduler, &watch);
    let model = scheduler.model();
    Ok(Tested {
        monocle: crate::about::VERSION,
        model: model.report.name.clone(),
        plugins: model.plugins().map(named).collect(),
        checks,
    })
}

impl Asked<'_> {
    fn checks(&self, scheduler: &mut Scheduler, watch: &Watch) -> Vec<Check> {
        let model = Arc::clone(scheduler.model());
        let recordings = scheduler.recordings().clone();
        let prompts = prompts::check(&model, &self.goldens.join("prompts.json"), self.accept);
        let mut checks = vec![
            check(watch, "sizes", plans::sizes(&model, &recordings)),
            check(watch, "repeats", plans::repeats(&model)),
            check(watch, "pixels", plans::pixels(&model)),
            check(watch, "prompts", prompts),
        ];
        // After a plan that is wrong, answers would only say so again.
        if checks.iter().any(Check::failed) || self.plans_only {
            let why = match self.plans_only {
                true => "`--plans-only`",
                false => "the plans are wrong",
            };
            let names = ["chunks", "batches", "output", "reference"];
            checks.extend(names.map(|name| Check::new(name, Verdict::Skipped(why.to_owned()))));
            return checks;
        }
        let within = self.within;
        checks.push(check(watch, "chunks", answers::chunks(scheduler, within.logits)));
        checks.push(check(
            watch,
            "batches",
            answers::batches(scheduler, within.logits),
        ));
        checks.push(check(watch, "output", answers::output(scheduler)));
        let references = answers::references(scheduler, self.goldens, self.pictures, within);
        checks.push(check(watch, "reference", references));
        checks
    }
}

/// What a check found, now that it has ended; that it could not be made is a failure, in the words of the error.
fn check<E: Into<anyhow::Error>>(watch: &Watch, name: &'static str, verdict: Result<Verdict, E>) -> Check {
    watch.went_on();
    let verdict = verdict.unwrap_or_else(|error| {
        let error: anyhow::Error = error.into();
        Verdict::Failed(vec![crate::in_words(&error)])
    });
    Check::new(name, verdict)
}

fn named(plugin: &Plugin) -> String {
    format!(
        "{} {} ({})",
        plugin.stamp.name, plugin.stamp.version, plugin.stamp.kind
    )
}
