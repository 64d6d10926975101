//! A plugin that misbehaves as the manifest's `plugin.options` tell it: `misbehave = "PLACE: DEED"`, where the place is a function of
//! the contract. Told nothing, it is a small model that works: each picture becomes four features, and one layer of attention
//! looks at them.

mod anywhere;
mod network;
mod processor;

use std::cell::Cell;

use monocle_plugin::prelude::*;

use network::HostileNetwork;
use processor::HostileProcessor;

monocle_plugin::export_model!(HostileProcessor, HostileNetwork, model_types: [], filters_output: true);

// What this instance was told: all that it does, it does on the thread that told it. (Instances of a library share its statics.)
thread_local! {
    static TOLD: Cell<&'static str> = const { Cell::new("") };
}

/// Reads the options.
fn be_told(files: &ModelFiles) -> Result<()> {
    let told = files.options()?.get_or("misbehave", String::new())?;
    TOLD.set(told.leak());
    Ok(())
}

/// Whether there is a deed to do in this place.
fn told(place: &str) -> bool {
    TOLD.get().split_once(": ").is_some_and(|(told, _)| told == place)
}

/// Whether this deed is to be done, which takes more than one place.
fn told_elsewhere(deed: &str) -> bool {
    TOLD.get() == deed
}

/// The deed to do in a place; the empty one when there is none. Deeds that can be done anywhere are done here.
fn deed(place: &str) -> &'static str {
    match TOLD.get().split_once(": ") {
        Some((told, deed)) if told == place => {
            anywhere::act(deed);
            deed
        }
        _ => "",
    }
}
