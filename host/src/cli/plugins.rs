//! `monocle plugins`: what is installed, and whether it can be used.

use clap::Args;
use monocle::model::locate::Places;
use monocle::plugin::component;
use monocle::plugin::stamp::{CONTRACT, PluginKind};
use serde::Serialize;

use super::json;

#[derive(Debug, Args)]
pub struct Plugins {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: Option<String>,
    contract: Option<String>,
    kind: Option<PluginKind>,
    model_types: Vec<String>,
    sha256: Option<String>,
    path: String,
    error: Option<String>,
}

impl Plugins {
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let rows: Vec<Row> = places
            .plugins
            .list()
            .into_iter()
            .map(|found| {
                let file = found
                    .path
                    .file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned());
                let sha256 = component::read(&found.path)
                    .ok()
                    .map(|wasm| component::sha256(&wasm));
                let path = found.path.display().to_string();
                match found.stamp {
                    Ok(stamp) => {
                        let error = (!stamp.is_served()).then(|| {
                            format!(
                                "built for contract {}, this host serves {CONTRACT}",
                                stamp.contract
                            )
                        });
                        Row {
                            name: stamp.name,
                            version: Some(stamp.version),
                            contract: Some(stamp.contract),
                            kind: Some(stamp.kind),
                            model_types: stamp.model_types,
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
                        model_types: Vec::new(),
                        sha256,
                        path,
                        error: Some(error),
                    },
                }
            })
            .collect();
        if self.json {
            return json::print(&rows);
        }
        if rows.is_empty() {
            println!("no plugins are installed");
        }
        for row in &rows {
            let hash = row.sha256.as_deref().map_or("-", |hash| &hash[..12]);
            let text = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
            let kind = row.kind.map_or("-".to_owned(), |kind| kind.to_string());
            let types = row.error.clone().unwrap_or_else(|| row.model_types.join(", "));
            let (version, contract) = (text(&row.version), text(&row.contract));
            println!(
                "{:12} {version:8} contract {contract:8} {kind:8} sha256 {hash}  {types}",
                row.name
            );
        }
        Ok(())
    }
}
