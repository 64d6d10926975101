//! What a plugin's memory holds where its answers should be: any bytes, in any form that the component model allows a list or a text to have,
//! lists that share their elements included.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use monocle_component::{NewStamp, componentize, stamp};
use monocle_image::Picture;
use monocle_runtime::plugin::contract::{ImagePlan, ModelFiles, PlanRequest, Rendering, Size};
use monocle_runtime::plugin::instance::Instance;
use monocle_runtime::plugin::limits::Limits;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::services::{Role, Services};
use monocle_runtime::plugin::trust::Trust;
use monocle_tensor::stored::Weight;
use wit_component::{StringEncoding, embed_component_metadata};

use super::Choices;
use crate::project;
use crate::scratch::Scratch;

/// Bytes at which the plugin's answers begin.
const START: u32 = 1024;
/// Bytes that are told to it.
const TOLD: u32 = 1 << 12;
/// Four instances and their answers, each of which takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A plugin's four answers, each of a fresh instance, as a trap ends one.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    // Compiled before the clock runs.
    plugin();
    let started = Instant::now();
    let words = words(&mut Choices::new(bytes));
    let letters = words
        .iter()
        .flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]);
    let files = ModelFiles {
        config: "{}".to_owned(),
        options: letters.map(char::from).collect(),
        ..ModelFiles::default()
    };
    let instance = || {
        let instance = Instance::new(plugin(), Arc::new(Nothing), Limits::default(), &files);
        instance.map_err(|error| format!("it was to start: {error}"))
    };
    let size = Size { width: 8, height: 8 };
    let request = PlanRequest {
        pictures: vec![size],
        ..PlanRequest::default()
    };
    let planned = ImagePlan {
        used: size,
        tiles: 1,
        pixels: Vec::new(),
        layout: Vec::new(),
        features: 1,
    };
    if let Ok(plan) = instance()?.plan(&request) {
        // It passed the check: all of it can be reckoned with.
        super::plans::prompt(&plan)?;
    }
    let picture = Picture::filled(8, 8, [7; 3]).expect("it has pixels");
    if let Ok(pixels) = instance()?.pixels(0, picture, &planned)
        && !pixels.is_empty()
    {
        return Err("it has pixels that it never made".to_owned());
    }
    let _ = instance()?.output("words", true);
    let _ = instance()?.parts("words", 1);
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}

/// What lies in its memory: small numbers, addresses of one another, ends of all numbers, letters.
fn words(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut words = Vec::new();
    while words.len() < TOLD as usize && !choices.is_empty() {
        let word = match choices.byte() % 8 {
            0 => 0,
            1 => 1,
            2 | 3 => START + 4 * (choices.byte() as u32 % (TOLD / 16)),
            4 => choices.byte() as u32,
            5 => choices.number(),
            6 => u32::from_le_bytes(*b"abcd"),
            _ => u32::from_le_bytes([(); 4].map(|()| choices.byte() as u8)),
        };
        words.extend(word.to_le_bytes());
    }
    words
}

/// The plugin: compiled once for all.
fn plugin() -> &'static Arc<Plugin> {
    static PLUGIN: OnceLock<Arc<Plugin>> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let folder = Scratch::new("lifted");
        let file = folder.write("lifted.wasm", stamped(&component(), "lifted"));
        let plugin = Plugin::load(&file, &Trust::nothing());
        Arc::new(plugin.unwrap_or_else(|error| panic!("{error}")))
    })
}

/// An adapter of this name, of the component that [`component`] makes, whatever was added to it.
pub fn stamped(component: &[u8], name: &str) -> Vec<u8> {
    let wanted = NewStamp {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        model_types: Vec::new(),
        filters_output: true,
        answers_parts: true,
    };
    stamp(component, &wanted).expect("it can be stamped")
}

/// The plugin's component, of one core module.
pub fn component() -> Vec<u8> {
    let mut module = wat::parse_str(include_str!("lifted.wat")).expect("the text is well-formed");
    let mut resolve = wit_parser::Resolve::default();
    let contract = project::root().join("plugin-api/wit/v0.2");
    let (package, _) = resolve.push_dir(&contract).expect("the contract is well-formed");
    let world = resolve
        .select_world(&[package], Some("adapter"))
        .expect("it has this world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a section is added");
    componentize(&module).expect("it fits the contract")
}

/// A model that has nothing.
pub struct Nothing;

impl Services for Nothing {
    fn encode(&self, text: &str, _add_special_tokens: bool) -> Result<Vec<u32>, String> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn token_id(&self, _token: &str) -> Option<u32> {
        None
    }

    fn token(&self, _id: u32) -> Option<String> {
        None
    }

    fn add_tokens(&self, _tokens: &[String], _special: bool) -> Result<Vec<u32>, String> {
        Err("no tokens".to_owned())
    }

    fn render(&self, _rendering: &Rendering) -> Result<String, String> {
        Err("no template".to_owned())
    }

    fn has_weight(&self, _name: &str) -> bool {
        false
    }

    fn weight_names(&self, _prefix: &str) -> Vec<String> {
        Vec::new()
    }

    fn weight(&self, _name: &str, _role: Role) -> Result<Weight, String> {
        Err("no weights".to_owned())
    }

    fn stack(&self, _names: &[String]) -> Result<Weight, String> {
        Err("no weights".to_owned())
    }
}
