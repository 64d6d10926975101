//! `monocle plugins inspect`: what a plugin's file holds. None of it is run.

use std::path::{Path, PathBuf};

use clap::Args;
use monocle_runtime::model::locate::Places;
use monocle_runtime::plugin::content::Content;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::{file, native};
use monocle_text::shown;
use serde::Serialize;

use crate::stats::Lines;
use crate::{output, stats};

#[derive(Debug, Args)]
pub struct Inspect {
    /// A plugin's file, or the name of one that is installed
    plugin: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Inspection {
    path: PathBuf,
    bytes: usize,
    sha256: String,
    stamp: Option<Stamp>,
    /// Whether it is a native library, and no component.
    native: bool,
    imports: Vec<String>,
    exports: Vec<String>,
    content: Option<Content>,
    /// Why no host would use it.
    problem: Option<String>,
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let path = match Path::new(&self.plugin) {
            file if file.is_file() => file.to_owned(),
            _ => places.plugins.path(&self.plugin)?,
        };
        let wasm = file::read(&path)?;
        let stamp = Stamp::read(&wasm);
        let native = native::is_library(&wasm);
        // What a library asks for, nobody sees from outside, and none of its code is run here.
        let world = match native {
            true => Ok(Default::default()),
            false => monocle_component::world(&wasm)
                .map(|world| (world.imports, world.exports))
                .map_err(|error| error.to_string()),
        };
        let problem = stamp.as_ref().err().or(world.as_ref().err()).cloned();
        let problem = problem.or_else(|| {
            match (native, &stamp) {
                (true, Ok(stamp)) => places
                    .plugins
                    .trust()
                    .check(&path, stamp, &file::sha256(&wasm))
                    .err(),
                _ => Plugin::load(&path, places.plugins.trust()).err(),
            }
            .map(|error| error.to_string())
        });
        let problem = problem.map(|problem| shown::message(&problem));
        let (imports, exports): (Vec<String>, Vec<String>) = world.unwrap_or_default();
        let inspection = Inspection {
            bytes: wasm.len(),
            sha256: file::sha256(&wasm),
            stamp: stamp.ok(),
            native,
            imports,
            exports,
            content: Content::of(&wasm).ok(),
            problem,
            path,
        };
        match self.json {
            true => output::print_json(&inspection),
            false => output::print(&text(&inspection)),
        }
    }
}

fn text(inspection: &Inspection) -> String {
    let mut lines = Lines::new(10);
    lines.add("file", inspection.path.display());
    lines.add("bytes", inspection.bytes);
    if inspection.native {
        lines.add("carrier", "a native library: no sandbox holds it");
    }
    lines.add("sha256", &inspection.sha256);
    if let Some(stamp) = &inspection.stamp {
        lines.add(
            "plugin",
            format!("{} {}, {}", stamp.name, stamp.version, stamp.kind),
        );
        lines.add("contract", &stamp.contract);
        let types = match stamp.model_types.is_empty() {
            true => "none: a manifest must name it".to_owned(),
            false => stamp.model_types.join(", "),
        };
        lines.add("for types", types);
        let calls = [
            (stamp.filters_output, "cleans answers"),
            (stamp.answers_parts, "finds places in answers"),
        ];
        let calls = calls.into_iter().filter(|(does, _)| *does);
        calls.for_each(|(_, what)| lines.add("besides", what));
    }
    for name in &inspection.exports {
        lines.add("gives", name);
    }
    for name in &inspection.imports {
        lines.add("asks for", name);
    }
    if let Some(content) = &inspection.content {
        lines.add(
            "holds",
            format!(
                "{} in {}, {} of code, {} of data, {} in other sections",
                stats::count(content.functions, "function"),
                stats::count(content.modules, "module"),
                stats::bytes(content.code_bytes),
                stats::bytes(content.data_bytes),
                stats::bytes(content.other_bytes)
            ),
        );
    }
    match &inspection.problem {
        Some(problem) => lines.add("not usable", problem),
        None => lines.add("usable", "yes, by this version of Monocle"),
    }
    lines.finish()
}
