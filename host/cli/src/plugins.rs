//! `monocle plugins`: what is installed, and whether it can be used; and what authors need.

mod build;
mod inspect;
mod new;
mod place;
mod project;
mod sdk;
mod share;
mod stamp;
mod test;
mod trust;
mod wrap;

use clap::{Args, Subcommand};
use monocle_runtime::model::locate::Places;
use monocle_runtime::plugin::folders::{Found, PluginFolders};
use monocle_runtime::plugin::stamp::PluginKind;
use monocle_runtime::plugin::{file, native, wasm};
use serde::Serialize;

use super::output;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Plugins {
    #[command(subcommand)]
    task: Option<Task>,

    /// List the native libraries that you trust
    #[arg(long)]
    trusted: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a folder with a plugin of your own, which builds and passes its test as it is
    New(new::New),
    /// Build the plugin of a folder
    Build(build::Build),
    /// Ask a plugin everything that a host relies on, and say what is wrong
    Test(Box<test::Test>),
    /// Show what a plugin's file holds: its stamp, what it asks for, its hash
    Inspect(inspect::Inspect),
    /// Make a plugin of a component that another tool made
    Stamp(stamp::Stamp),
    /// Make one file of a plugin and what belongs to it, for others
    Pack(share::Pack),
    /// Put a package into a registry of OCI artifacts
    Push(share::Push),
    /// Install a package: a file, an address, or a registry's
    Install(share::Install),
    /// Install newer versions of what was installed
    Update(share::Update),
    /// Remove what was installed
    Remove(share::Remove),
    /// Check that what was installed is as it was
    Verify(share::Verify),
    /// List the installed plugins, as `monocle plugins` alone does
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a native library run, as it is now: it can do anything that you can
    Trust(trust::Give),
    /// Let a native library run no more
    Untrust(trust::Take),
    /// Make a plugin of the module that `cargo build` made of a plugin's crate
    Wrap(wrap::Wrap),
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: Option<String>,
    contract: Option<String>,
    kind: Option<PluginKind>,
    /// Whether it is a native library, and no component.
    native: bool,
    model_types: Vec<String>,
    /// Those of its model types that another plugin takes.
    yields: Vec<Yield>,
    sha256: Option<String>,
    path: String,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Yield {
    model_type: String,
    to: String,
}

impl Plugins {
    pub fn run(self) -> anyhow::Result<()> {
        match self.task {
            None if self.trusted => trust::list(self.json),
            None => list(self.json),
            Some(Task::List { json }) => list(json),
            Some(Task::Pack(pack)) => pack.run(),
            Some(Task::Push(push)) => push.run(),
            Some(Task::Install(install)) => install.run(),
            Some(Task::Update(update)) => update.run(),
            Some(Task::Remove(remove)) => remove.run(),
            Some(Task::Verify(verify)) => verify.run(),
            Some(Task::New(new)) => new.run(),
            Some(Task::Build(build)) => build.run(),
            Some(Task::Test(test)) => test.run(),
            Some(Task::Inspect(inspect)) => inspect.run(),
            Some(Task::Stamp(stamp)) => stamp.run(),
            Some(Task::Trust(give)) => give.run(),
            Some(Task::Untrust(take)) => take.run(),
            Some(Task::Wrap(wrap)) => wrap.run(),
        }
    }
}

/// The types that a plugin understands and does not get.
fn yields(plugins: &PluginFolders, row: &Row) -> Vec<Yield> {
    let taken = row.model_types.iter().filter_map(|model_type| {
        let (_, first) = plugins.for_model_type(model_type).into_iter().next()?;
        (first.name != row.name).then(|| Yield {
            model_type: model_type.clone(),
            to: first.name,
        })
    });
    taken.collect()
}

fn list(json: bool) -> anyhow::Result<()> {
    let places = Places::from_env();
    let mut rows: Vec<Row> = places.plugins.list().into_iter().map(row).collect();
    for row in &mut rows {
        row.yields = yields(&places.plugins, row);
    }
    match json {
        true => output::print_json(&rows),
        false => output::print(&text(&rows)),
    }
}

fn row(found: Found) -> Row {
    let file = found.path.file_stem();
    let file = file.map(|stem| stem.to_string_lossy().into_owned());
    let sha256 = file::read(&found.path).ok().map(|wasm| file::sha256(&wasm));
    let path = found.path.display().to_string();
    match found.stamp {
        Ok(stamp) => {
            let (is_served, served) = match found.native {
                true => (native::serves(&stamp.contract), native::CONTRACT.to_owned()),
                false => (wasm::is_served(&stamp), wasm::served()),
            };
            let error = (!is_served)
                .then(|| format!("built for contract {}, this host serves {served}", stamp.contract));
            Row {
                name: stamp.name,
                version: Some(stamp.version),
                contract: Some(stamp.contract),
                kind: Some(stamp.kind),
                native: found.native,
                model_types: stamp.model_types,
                yields: Vec::new(),
                sha256,
                path,
                error,
            }
        }
        Err(error) => Row {
            name: file.unwrap_or_default(),
            version: None,
            contract: None,
            kind: None,
            native: found.native,
            model_types: Vec::new(),
            yields: Vec::new(),
            sha256,
            path,
            error: Some(error),
        },
    }
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no plugins are installed\n\nhint: `monocle doctor` says where those that come with the program should lie; `MONOCLE_PLUGINS` names folders to search\n".to_owned();
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let hash = row.sha256.as_deref().map_or("-", |hash| &hash[..12]);
        let or_dash = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
        let kind = row.kind.map_or("-".to_owned(), |kind| kind.to_string());
        let types = match &row.error {
            Some(error) => format!("not usable: {}", error.lines().next().unwrap_or_default()),
            None if row.native => format!("{} (native library)", row.model_types.join(", ")),
            None => row.model_types.join(", "),
        };
        let (version, contract) = (or_dash(&row.version), or_dash(&row.contract));
        text.push_str(&format!(
            "{:width$}  {version:7}  contract {contract:7}  {kind:7}  sha256 {hash:12}  {types}\n",
            row.name
        ));
    }
    let yields = rows
        .iter()
        .flat_map(|row| row.yields.iter().map(move |taken| (row, taken)));
    let yields: Vec<String> = yields
        .map(|(row, taken)| {
            format!(
                "models of the type `{}` are taken by `{}`, which goes before `{}`\n",
                taken.model_type, taken.to, row.name
            )
        })
        .collect();
    if !yields.is_empty() {
        text.push_str(&format!(
            "\n{}\nhint: `MONOCLE_PLUGIN_ORDER` names plugins that go first, like `a,b`; a manifest names its plugin itself\n",
            yields.concat()
        ));
    }
    text
}
