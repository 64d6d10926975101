//! `monocle models`: what manifests there are, whether their weights are here, and what the cache holds besides.

use std::collections::HashSet;

use clap::Args;
use monocle_manifest::schema::Source;
use monocle_runtime::model::cached::{all_gguf_models, bytes_beside_gguf, bytes_in};
use monocle_runtime::model::locate::{Listed, Places, tidy};
use monocle_text::shown;
use monocle_weights::gguf::{is_gguf, is_gguf_snapshot};
use serde::Serialize;

use super::{output, stats};

#[derive(Debug, Args)]
pub struct Models {
    /// Show how much each takes on disk, and what the cache holds that no manifest names
    #[arg(long)]
    sizes: bool,

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
    /// None: no manifest names it.
    manifest: Option<String>,
    error: Option<String>,
    /// On disk; only where sizes are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Present,
    Partial,
    Absent,
    Broken,
    /// Files that no revision needs: of downloads that did not end.
    Leftover,
}

impl Models {
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let mut rows: Vec<Row> = places
            .list()
            .into_iter()
            .map(|listed| row(&places, listed))
            .collect();
        let mut total = None;
        if self.sizes {
            let here = rows
                .iter_mut()
                .filter(|row| matches!(row.state, State::Present | State::Partial));
            here.for_each(|row| row.bytes = row.folder.as_ref().map(|folder| bytes_in(folder.as_ref())));
            let (more, bytes) = unnamed(&places, &rows);
            rows.extend(more);
            total = Some(bytes);
        }
        if self.json {
            return output::print_json(&rows);
        }
        let mut text = text(&places, &rows);
        if let Some(total) = total {
            let cache = places.hub.cache.display();
            text.push_str(&format!(
                "{} in all in the cache {cache}\n",
                stats::bytes(total as usize)
            ));
        }
        output::print(&text)
    }
}

/// What the cache holds and no row names, and the bytes of all that it holds.
fn unnamed(places: &Places, rows: &[Row]) -> (Vec<Row>, u64) {
    let named: HashSet<&str> = rows.iter().filter_map(|row| row.folder.as_deref()).collect();
    let mut more = Vec::new();
    let mut total = 0;
    let otherwise = places.stored_otherwise();
    for cached in places.hub.cached() {
        total += cached.bytes();
        let row = |name: String, source: String, state, folder: String, bytes| Row {
            name,
            plugin: None,
            source: Some(source),
            state,
            folder: Some(folder),
            manifest: None,
            error: None,
            bytes: Some(bytes),
        };
        for snapshot in &cached.snapshots {
            let folder = snapshot.folder.display().to_string();
            let (is_named, of_gguf) = (
                named.contains(folder.as_str()),
                is_gguf_snapshot(&snapshot.folder),
            );
            if is_named && of_gguf {
                continue;
            }
            let source = format!("{}@{}", cached.repo, snapshot.name());
            let state = |is_whole| if is_whole { State::Present } else { State::Partial };
            let models = all_gguf_models(&snapshot.folder);
            for model in &models {
                let file = model.file.display().to_string();
                if named.contains(file.as_str()) {
                    continue;
                }
                let name = format!("{}:{}", cached.repo, model.tag);
                let bytes = bytes_in(&model.file);
                more.push(row(name, source.clone(), state(model.is_whole), file, bytes));
            }
            if !is_named && (!of_gguf || models.is_empty()) {
                let bytes = match models.is_empty() {
                    true => bytes_in(&snapshot.folder),
                    false => bytes_beside_gguf(&snapshot.folder),
                };
                let name = cached.repo.clone();
                let declared = otherwise.iter().find(|declared| declared.manifest.name == name);
                more.push(Row {
                    plugin: declared.map(|declared| declared.manifest.plugin.name.clone()),
                    manifest: declared.map(|declared| declared.declared_by.clone()),
                    ..row(name, source, state(snapshot.is_complete), folder, bytes)
                });
            }
        }
        if cached.left_over() > 0 {
            let folder = cached.folder.display().to_string();
            more.push(row(
                cached.repo.clone(),
                cached.repo.clone(),
                State::Leftover,
                folder,
                cached.left_over(),
            ));
        }
    }
    (more, total)
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
        return format!(
            "no manifests in {place}\n\nhint: `monocle doctor` says where those that come with the program should lie; `MONOCLE_MANIFESTS` names folders to search\n"
        );
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let plugins = rows.iter().map(|row| row.plugin.as_deref().unwrap_or("-").len());
    let plugins = plugins.max().unwrap_or(0);
    let has_sizes = rows.iter().any(|row| row.bytes.is_some());
    let size = |row: &Row| match (has_sizes, row.bytes) {
        (false, _) => String::new(),
        (true, None) => format!("{:>12}  ", "-"),
        (true, Some(bytes)) => format!("{:>12}  ", stats::bytes(bytes as usize)),
    };
    let states = if rows.iter().any(|row| row.state == State::Leftover) {
        8
    } else {
        7
    };
    let mut text = String::new();
    for row in rows {
        let state = format!("{:?}", row.state).to_lowercase();
        let plugin = row.plugin.as_deref().unwrap_or("-");
        let place = row.error.as_ref().or(row.folder.as_ref()).or(row.source.as_ref());
        let place = place.map_or("", String::as_str);
        text.push_str(&format!(
            "{:width$}  {state:states$}  {}{plugin:plugins$}  {place}\n",
            row.name,
            size(row)
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
                manifest: Some(manifest),
                error: Some(shown::message(&error.to_string())),
                bytes: None,
            };
        }
    };
    let (source, state, folder, error) = match &parsed.source {
        Source::Path(path) => {
            let here = path.join("config.json").is_file() || is_gguf(path);
            let path = tidy(path).display().to_string();
            (
                path.clone(),
                if here { State::Present } else { State::Absent },
                Some(path),
                None,
            )
        }
        Source::Repo {
            repo, revision, gguf, ..
        } => {
            let source = match gguf {
                Some(tag) => format!("{repo}:{tag}@{revision}"),
                None => format!("{repo}@{revision}"),
            };
            match places.hub.locate_one(repo, revision, gguf.as_deref()) {
                Ok(Some(located)) => {
                    let state = if located.is_complete() {
                        State::Present
                    } else {
                        State::Partial
                    };
                    (source, state, Some(located.folder.display().to_string()), None)
                }
                Ok(None) => (source, State::Absent, None, None),
                Err(error) => {
                    let error = shown::message(&error.to_string());
                    (source, State::Broken, None, Some(error))
                }
            }
        }
    };
    Row {
        name: parsed.name,
        plugin: Some(parsed.plugin.name),
        source: Some(source),
        state,
        folder,
        manifest: Some(manifest),
        error,
        bytes: None,
    }
}
