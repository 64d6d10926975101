//! `docs/models.md`: written from the manifests, the plugins' sources and the last parity run.

use std::fmt::Write;
use std::path::Path;

use monocle_manifest::Manifest;
use monocle_manifest::schema::{Oversize, Source};

use crate::project;
use crate::record::ParityRecord;

/// How to write the page anew.
pub const COMMAND: &str = "cargo xtask test && cargo run --release -p monocle-tests --example models_page";

/// Lines that a plugin may have without a reason.
const SHORT: usize = 400;

/// The page.
pub fn page(records: &[ParityRecord]) -> String {
    let rows: String = records.iter().map(row).collect();
    [plugin_part(), parity_heading(), rows, manifest_part()].concat()
}

/// What stands before the table of parity: the plugins.
pub fn plugin_part() -> String {
    let mut page = String::from("# Models\n\n");
    let _ = writeln!(
        page,
        "Written by `{COMMAND}` from the manifests, the plugins and the last parity run; do not edit.\n\n\
         ## Plugins\n\n\
         Lines of code leave out blank lines, comments and tests. Plugins of more than {SHORT} lines say why below.\n\n\
         | plugin | lines | what | pictures | limits |\n|---|---|---|---|---|"
    );
    let mut reasons = String::new();
    for name in plugins() {
        let folder = project::root().join("plugins").join(&name);
        let package = package(&folder);
        let lines = lines(&folder.join("src"));
        let about = package["metadata"]["monocle"]
            .as_table()
            .expect("a plugin tells what it does with pictures");
        let _ = writeln!(
            page,
            "| `{name}` | {lines} | {} | {} | {} |",
            text(&package, "description"),
            text(about, "pictures"),
            about
                .get("limits")
                .map_or("", |limits| limits.as_str().unwrap_or_default())
        );
        if lines > SHORT {
            let _ = writeln!(reasons, "- `{name}`, {lines} lines: {}.", text(about, "why"));
        }
    }
    let _ = write!(page, "\nWhat makes the longer ones long:\n\n{reasons}");
    page
}

/// What parity means, and the head of its table.
pub fn parity_heading() -> String {
    String::from(
        "\n## Parity\n\n\
         Tiny checkpoints of each architecture, compared with the reference implementation: the rendered prompt and the token ids \
         are equal, pixels agree within 1e-6, logits within 1e-4, 16 greedy tokens are equal; at prefill chunks of 1, 7, 64 and all \
         tokens. The figures are the largest differences found. The same checkpoints named, arranged and quantised as mlx-vlm's conversions are compared too \
         (`tests/tests/families/mlx_conversions.rs`). The real models' own weights have not been run: they are too large for the \
         tests.\n\n\
         | checkpoint | stands for | plugin | judge | case: pixels, logits |\n|---|---|---|---|---|\n",
    )
}

/// A row of that table.
fn row(record: &ParityRecord) -> String {
    let cases: Vec<String> = record
        .cases
        .iter()
        .map(|case| match case.pixels {
            Some(pixels) => format!("{}: {pixels:.0e}, {:.0e}", case.name, case.logits),
            None => format!("{}: –, {:.0e}", case.name, case.logits),
        })
        .collect();
    format!(
        "| {} | {} | `{}` | {} | {} |\n",
        record.folder,
        record.stands_for,
        record.plugin,
        record.reference,
        cases.join("; ")
    )
}

/// What stands after the table of parity: the manifests.
pub fn manifest_part() -> String {
    let mut page = String::new();
    let _ = writeln!(
        page,
        "\n## Manifests\n\n| name | plugin | weights | pictures | besides |\n|---|---|---|---|---|"
    );
    for manifest in manifests() {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} | {} | {} |",
            manifest.name,
            manifest.plugin.name,
            source(&manifest.source),
            pictures(&manifest),
            besides(&manifest)
        );
    }
    page
}

/// Names of the plugins.
pub fn plugins() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(project::root().join("plugins"))
        .expect("the project has plugins")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("Cargo.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

/// The project's manifests, by file name.
pub fn manifests() -> Vec<Manifest> {
    let listed = project::places().list();
    listed
        .into_iter()
        .map(|listed| listed.manifest.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// What a plugin's Cargo.toml says of it.
fn package(folder: &Path) -> toml::Table {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    manifest["package"].as_table().expect("a package").clone()
}

fn text<'a>(table: &'a toml::Table, key: &str) -> &'a str {
    table
        .get(key)
        .and_then(toml::Value::as_str)
        .unwrap_or_else(|| panic!("a plugin's Cargo.toml has no `{key}`"))
}

/// Lines of code of a folder.
fn lines(folder: &Path) -> usize {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).expect("a plugin has sources") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            sum += lines(&path);
            continue;
        }
        let text = std::fs::read_to_string(path).expect("a source is text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        sum += code
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count();
    }
    sum
}

fn source(source: &Source) -> String {
    match source {
        Source::Repo {
            repo,
            gguf: None,
            also,
            ..
        } => match also.is_empty() {
            true => repo.clone(),
            false => format!("{repo}; also {}", also.join(", ")),
        },
        Source::Repo {
            repo,
            gguf: Some(tag),
            ..
        } => format!("{repo}:{tag}"),
        Source::Path(path) => {
            // Where the manifests are: of the engine `mlx`, tests lie in a folder of links.
            let manifests = std::fs::canonicalize(project::root().join("manifests")).ok();
            let project = manifests.as_deref().and_then(Path::parent);
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let relative = project
                .and_then(|project| path.strip_prefix(project).ok())
                .map(|path| path.display().to_string());
            relative.unwrap_or_else(|| path.display().to_string())
        }
    }
}

fn pictures(manifest: &Manifest) -> String {
    let mut rules = Vec::new();
    if let Some(pixels) = manifest.image.max_pixels {
        let over = if manifest.image.over == Oversize::Refuse {
            "refused"
        } else {
            "shrunk"
        };
        rules.push(format!("beyond {pixels} pixels {over}"));
    }
    if let Some(images) = manifest.image.max_images {
        rules.push(format!("{images} at most"));
    }
    if rules.is_empty() {
        "as they are".to_owned()
    } else {
        rules.join(", ")
    }
}

fn besides(manifest: &Manifest) -> String {
    let mut rules = Vec::new();
    if manifest.prompt.template.is_some() {
        rules.push("own template".to_owned());
    }
    if manifest.prompt.plain {
        rules.push("base model: plain prompt".to_owned());
    }
    if let Some(reasoning) = &manifest.output.reasoning {
        rules.push(format!("reasoning split at `{}`", reasoning.end));
    }
    let stops: Vec<&String> = manifest
        .generation
        .stop_tokens
        .iter()
        .chain(&manifest.generation.stop)
        .collect();
    if !stops.is_empty() {
        rules.push(format!(
            "stops at {}",
            stops
                .iter()
                .map(|stop| format!("`{stop}`"))
                .collect::<Vec<_>>()
                .join(" ")
        ));
    }
    if !manifest.weights.rename.is_empty() {
        rules.push("weights renamed".to_owned());
    }
    rules.join("; ").replace('|', "\\|")
}
