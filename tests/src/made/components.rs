//! Plugins as no tool makes them: a real one whose sections are changed, left out, repeated or cut off, with a stamp that says anything. It is
//! refused in plain words, or it is what its stamp says and starts.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use monocle_runtime::plugin::contract::ModelFiles;
use monocle_runtime::plugin::instance::Instance;
use monocle_runtime::plugin::limits::Limits;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::stamp::{SECTION, Stamp, is_name};
use monocle_runtime::plugin::trust::Trust;
use serde_json::{Map, Value, json};

use super::Choices;
use super::lifted::{Nothing, component, stamped};
use crate::scratch::Scratch;

/// Ten times what the slowest known one takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an error, more than enough for its words.
const LONGEST: usize = 4096;

/// Reads a plugin that is made of the bytes, loads it and starts it.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let made = plugin(&mut Choices::new(bytes));
    let started = Instant::now();
    let stamp = Stamp::read(&made);
    match &stamp {
        Ok(stamp) => sound(stamp)?,
        Err(reason) => plain(reason)?,
    }
    let folder = Scratch::new("component");
    let file = folder.write("made.wasm", &made);
    match Plugin::load(&file, &Trust::nothing()) {
        Ok(plugin) if Ok(&plugin.stamp) != stamp.as_ref() => {
            return Err(format!("{:?} was loaded, and read {stamp:?}", plugin.stamp));
        }
        Ok(plugin) => {
            let limits = Limits {
                call: Duration::from_secs(1),
                ..Limits::default()
            };
            let files = ModelFiles::default();
            if let Err(error) = Instance::new(&Arc::new(plugin), Arc::new(Nothing), limits, &files) {
                plain(&error.to_string())?;
            }
        }
        Err(error) => plain(&error.to_string())?,
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}

/// What is shown to people and makes names of files.
fn sound(stamp: &Stamp) -> Result<(), String> {
    let mut texts = stamp.model_types.iter().chain([&stamp.version, &stamp.contract]);
    let is_odd = |text: &String| text.len() > 128 || text.contains(char::is_control);
    match is_name(&stamp.name) && !texts.any(is_odd) {
        true => Ok(()),
        false => Err(format!("a stamp passed that says {stamp:?}")),
    }
}

fn plain(error: &str) -> Result<(), String> {
    match error.len() > LONGEST || error.contains(|c: char| c.is_control() && !"\n\t".contains(c)) {
        true => Err(format!("an error of {} bytes: {error:?}", error.len())),
        false => Ok(()),
    }
}

/// A section: its number, and what is in it.
type Section = (u8, Vec<u8>);

fn plugin(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut sections = real().clone();
    let stamp = sections.len() - 1;
    if choices.is() {
        sections[stamp].1 = [
            &[SECTION.len() as u8][..],
            SECTION.as_bytes(),
            &self::stamp(choices),
        ]
        .concat();
    }
    // Most often a few changes: more, and all are refused alike.
    for _ in 0..choices.byte() % 4 {
        if sections.is_empty() {
            break;
        }
        let at = choices.byte() % sections.len();
        match choices.byte() % 8 {
            0 => drop(sections.remove(at)),
            1 => sections.insert(at, sections[at].clone()),
            2 => {
                let other = choices.byte() % sections.len();
                sections.swap(at, other);
            }
            3 => sections[at].0 = choices.byte() as u8,
            4 => {
                let kept = choices.number() as usize;
                sections[at].1.truncate(kept);
            }
            _ => {
                let place = choices.byte() << 8 | choices.byte();
                let bytes = &mut sections[at].1;
                if !bytes.is_empty() {
                    let place = place % bytes.len();
                    bytes[place] = choices.byte() as u8;
                }
            }
        }
    }
    let mut bytes = header().to_vec();
    for (number, content) in sections {
        bytes.push(number);
        // Rarely a length that is not the content's.
        let length = match choices.byte() {
            255 => choices.number(),
            _ => content.len() as u32,
        };
        leb128(length, &mut bytes);
        bytes.extend(content);
    }
    if choices.byte() == 255 {
        bytes.truncate(choices.byte() << 8 | choices.byte());
    }
    bytes
}

/// A number as WebAssembly writes it (core specification, 5.2.2).
fn leb128(mut rest: u32, bytes: &mut Vec<u8>) {
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// The magic number, and the version of a component.
fn header() -> &'static [u8] {
    b"\0asm\x0d\0\x01\0"
}

/// The sections of a plugin that works; its stamp is the last.
fn real() -> &'static Vec<Section> {
    static REAL: OnceLock<Vec<Section>> = OnceLock::new();
    REAL.get_or_init(|| {
        let bytes = stamped(&component(), "made");
        let mut rest = bytes.strip_prefix(header()).expect("a component has this header");
        let mut sections = Vec::new();
        while let Some((&number, after)) = rest.split_first() {
            let digits = after.iter().take_while(|byte| **byte > 0x7f).count() + 1;
            let (length, after) = after.split_at(digits);
            let length = length
                .iter()
                .rev()
                .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
            let (content, after) = after.split_at(length);
            sections.push((number, content.to_vec()));
            rest = after;
        }
        let (number, content) = sections.last().expect("it has sections");
        assert!(
            *number == 0 && content[1..].starts_with(SECTION.as_bytes()),
            "the stamp is the last"
        );
        sections
    })
}

/// What a stamp might say.
fn stamp(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut stamp = Map::new();
    let fields = [
        ("name", "made"),
        ("version", "1.0.0"),
        ("contract", "0.2.0"),
        ("kind", "adapter"),
    ];
    for (field, usual) in fields {
        match choices.byte() % 4 {
            0 => drop(stamp.insert(field.to_owned(), odd(choices))),
            1 if choices.byte() > 127 => {}
            _ => drop(stamp.insert(field.to_owned(), json!(usual))),
        }
    }
    for field in ["model-types", "filters-output", "answers-parts", "unknown"] {
        match choices.byte() % 4 {
            0 => drop(stamp.insert(field.to_owned(), json!(choices.list(3, odd)))),
            1 => drop(stamp.insert(field.to_owned(), json!(choices.is()))),
            _ => {}
        }
    }
    let mut text = Value::from(stamp).to_string().into_bytes();
    match choices.byte() {
        255 => text.truncate(choices.byte()),
        254 => text = [&b"[".repeat(10_000)[..], &text].concat(),
        253 => text.resize(70_000, b' '),
        _ => {}
    }
    text
}

fn odd(choices: &mut Choices<'_>) -> Value {
    const ODD: [&str; 16] = [
        "",
        ".",
        "..",
        "../x",
        "/abs",
        "a b",
        "\u{1b}[2J",
        "\u{0}",
        "ü🦀",
        "made",
        "model",
        "adapter",
        "0.1.0",
        "9.9.9",
        "1.0.0-\u{202e}",
        "qwen2_vl/tower",
    ];
    match choices.byte() % 8 {
        0 => Value::Null,
        1 => json!(choices.number()),
        2 => json!("x".repeat(70 + choices.byte())),
        _ => json!(choices.of(&ODD)),
    }
}
