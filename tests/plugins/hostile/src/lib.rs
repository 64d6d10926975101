//! A plugin that misbehaves as the manifest's `plugin.options` tell it: `misbehave = "PLACE: DEED"`, where the place is a function of
//! the contract. Told nothing, it is a small model that works: each picture becomes four features, and one layer of attention
//! looks at them.

mod anywhere;
mod network;
mod processor;

use std::sync::OnceLock;

use monocle_plugin::prelude::*;

use network::HostileNetwork;
use processor::HostileProcessor;

monocle_plugin::export_model!(HostileProcessor, HostileNetwork, model_types: [], filters_output: true);

/// What this instance was told.
static TOLD: OnceLock<String> = OnceLock::new();

/// Reads the options.
fn be_told(files: &ModelFiles) -> Result<()> {
    let told = files.options()?.get_or("misbehave", String::new())?;
    TOLD.get_or_init(|| told);
    Ok(())
}

/// Whether there is a deed to do in this place.
fn told(place: &str) -> bool {
    let told = TOLD.get().map_or("", String::as_str);
    told.split_once(": ").is_some_and(|(told, _)| told == place)
}

/// Whether this deed is to be done, which takes more than one place.
fn told_elsewhere(deed: &str) -> bool {
    TOLD.get().is_some_and(|told| told == deed)
}

/// The deed to do in a place; the empty one when there is none. Deeds that can be done anywhere are done here.
fn deed(place: &str) -> &'static str {
    let told = TOLD.get().map_or("", String::as_str);
    match told.split_once(": ") {
        Some((told, deed)) if told == place => {
            anywhere::act(deed);
            deed
        }
        _ => "",
    }
}
