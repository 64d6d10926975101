//! `monocle models`: what manifests there are, and whether their weights are here.

use clap::Args;
use monocle_manifest::schema::Source;
use monocle_runtime::model::locate::{Listed, Places};
use serde::Serialize;

use super::output;

#[derive(Debug, Args)]
pub struct Models {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    plugin: Option<String>,
    source: Option<String>,
    state: State,
    folder: Option<String>,
    manifest: String,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Present,
    Partial,
    Absent,
    Broken,
}

impl Models {
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let rows: Vec<Row> = places
            .list()
            .into_iter()
            .map(|listed| row(&places, listed))
            .collect();
        if self.json {
            return output::print_json(&rows);
        }
        output::print(&text(&places, &rows))
    }
}

fn text(places: &Places, rows: &[Row]) -> String {
    if rows.is_empty() {
        let folders = places
            .manifests
            .iter()
            .map(|folder| format!("`{}`", folder.display()));
        let folders: Vec<_> = folders.collect();
        let place = match folders.is_empty() {
            true => "any folder".to_owned(),
            false => folders.join(", "),
        };
        return format!("no manifests in {place}\n\nhint: `MONOCLE_MANIFESTS` names folders to search\n");
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let plugins = rows.iter().map(|row| row.plugin.as_deref().unwrap_or("-").len());
    let plugins = plugins.max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let state = format!("{:?}", row.state).to_lowercase();
        let plugin = row.plugin.as_deref().unwrap_or("-");
        let place = row.error.as_ref().or(row.folder.as_ref()).or(row.source.as_ref());
        let place = place.map_or("", String::as_str);
        text.push_str(&format!(
            "{:width$}  {state:7}  {plugin:plugins$}  {place}\n",
            row.name
        ));
    }
    text
}

fn row(places: &Places, listed: Listed) -> Row {
    let file = listed
        .path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let manifest = listed.path.display().to_string();
    let parsed = match listed.manifest {
        Ok(parsed) => parsed,
        Err(error) => {
            return Row {
                name: file,
                plugin: None,
                source: None,
                state: State::Broken,
                folder: None,
                manifest,
                error: Some(error.to_string()),
            };
        }
    };
    let (source, state, folder, error) = match &parsed.source {
        Source::Path(path) => {
            let here = path.join("config.json").is_file();
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let path = path.display().to_string();
            (
                path.clone(),
                if here { State::Present } else { State::Absent },
                Some(path),
                None,
            )
        }
        Source::Repo { repo, revision } => {
            let source = format!("{repo}@{revision}");
            match places.hub.locate(repo, revision) {
                Ok(Some(located)) => {
                    let state = if located.is_complete() {
                        State::Present
                    } else {
                        State::Partial
                    };
                    (source, state, Some(located.folder.display().to_string()), None)
                }
                Ok(None) => (source, State::Absent, None, None),
                Err(error) => (source, State::Broken, None, Some(error.to_string())),
            }
        }
    };
    Row {
        name: parsed.name,
        plugin: Some(parsed.plugin.name),
        source: Some(source),
        state,
        folder,
        manifest,
        error,
    }
}
