//! `monocle --version`: which release this is, and with `--verbose` all that a report of a fault should name.

use std::fmt::Write as _;

use monocle_runtime::engines::EngineName;
use monocle_runtime::model::locate::Places;
use monocle_runtime::plugin::folders::Found;
use monocle_runtime::plugin::stamp::CONTRACT;
use monocle_runtime::plugin::wasm;
use monocle_runtime::program;

use super::output;

/// The number of the release: the program and the plugins that come with it have the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints it.
pub fn print(verbose: bool) -> anyhow::Result<()> {
    match verbose {
        false => output::print(&format!("monocle {VERSION}\n")),
        true => output::print(&in_full()),
    }
}

fn in_full() -> String {
    let places = Places::from_env();
    let program =
        program::own_file().map_or_else(|error| error.to_string(), |file| file.display().to_string());
    let engines = EngineName::built_in();
    let engines = engines.iter().map(|engine| match *engine {
        engine if engine == EngineName::default_here() => format!("{} (default)", engine.name()),
        engine => engine.name().to_owned(),
    });
    let mut text = format!("monocle {VERSION}\n");
    for (what, said) in [
        (
            "contract",
            format!("{CONTRACT}; plugins built for {} run", wasm::served()),
        ),
        ("engines", engines.collect::<Vec<_>>().join(", ")),
        (
            "system",
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
        ("program", program),
    ] {
        line(&mut text, what, &said);
    }
    for folder in &places.manifests {
        line(&mut text, "manifests", &folder.display().to_string());
    }
    let plugins = places.plugins.list();
    for folder in places.plugins.folders() {
        line(&mut text, "plugins", &folder.display().to_string());
        let inside = |found: &&Found| found.path.parent() == Some(folder);
        for found in plugins.iter().filter(inside) {
            line(&mut text, "", &plugin(found));
        }
    }
    text
}

fn line(text: &mut String, what: &str, said: &str) {
    writeln!(text, "{what:9}  {said}").expect("a string can be written to");
}

/// `NAME 0.1.0, contract 0.2.0`
fn plugin(found: &Found) -> String {
    match &found.stamp {
        Ok(stamp) => {
            let unserved = match wasm::is_served(stamp) {
                true => "",
                false => ", which does not run here",
            };
            format!(
                "{} {}, contract {}{unserved}",
                stamp.name, stamp.version, stamp.contract
            )
        }
        Err(error) => format!("`{}`: {error}", found.path.display()),
    }
}
