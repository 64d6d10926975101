//! Which template renders the prompt: the user's, the manifest's, the repository's, the plugin's, or a plain one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{ChatTemplate, TemplateError};

/// Where a chat template came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", content = "file", rename_all = "snake_case")]
pub enum TemplateSource {
    /// The command line.
    Flag,
    /// The manifest.
    Manifest,
    /// A file of the model's repository.
    Repository(String),
    /// The plugin.
    Plugin,
    /// Nobody gave one: the built-in plain text.
    Plain,
}

/// The templates on offer, as text.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// From the command line.
    pub flag: Option<String>,
    /// From the manifest.
    pub manifest: Option<String>,
    /// From the repository, with the file's name.
    pub repository: Option<(String, String)>,
    /// From the plugin.
    pub plugin: Option<String>,
    /// What stands for a picture if it comes to the plain template.
    pub image_marker: String,
}

/// Takes the first template there is: flag, manifest, repository, plugin, else the plain one.
pub fn choose_template(candidates: Candidates) -> Result<ChatTemplate, TemplateError> {
    let plain = || (TemplateSource::Plain, plain_template(&candidates.image_marker));
    let (source, text) = candidates
        .flag
        .map(|text| (TemplateSource::Flag, text))
        .or(candidates.manifest.map(|text| (TemplateSource::Manifest, text)))
        .or(candidates
            .repository
            .map(|(file, text)| (TemplateSource::Repository(file), text)))
        .or(candidates.plugin.map(|text| (TemplateSource::Plugin, text)))
        .unwrap_or_else(plain);
    ChatTemplate::new(source, text)
}

/// A template for base models: the texts one under the other, `image_marker` for each picture, no roles.
pub fn plain_template(image_marker: &str) -> String {
    let marker = image_marker
        .replace('\\', "\\\\")
        .replace('\'', "\\'")
        .replace('\n', "\\n");
    format!(
        "{{%- for message in messages -%}}\
         {{%- if not loop.first -%}}{{{{ '\\n' }}}}{{%- endif -%}}\
         {{%- if message.content is string -%}}{{{{ message.content }}}}{{%- else -%}}\
         {{%- for part in message.content -%}}\
         {{{{ '{marker}' if part.type == 'image' else part.text }}}}\
         {{%- endfor -%}}{{%- endif -%}}{{%- endfor -%}}"
    )
}

/// The template that a flag or a manifest names: inline text if it has Jinja's braces or several lines, otherwise a
/// file (`*.json` as Hugging Face writes them, anything else the template itself), relative to `folder`.
pub fn read_template_argument(argument: &str, folder: &Path) -> Result<String, TemplateError> {
    if ["{{", "{%", "{#", "\n"]
        .iter()
        .any(|mark| argument.contains(mark))
    {
        return Ok(argument.to_owned());
    }
    let path = folder.join(argument);
    let text = read(&path)?.ok_or_else(|| TemplateError::Unreadable {
        path: path.clone(),
        source: io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such file, nor is it inline Jinja",
        ),
    })?;
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(text);
    }
    template_of_json(&text, &path)?.ok_or_else(|| no_template(&path, "it has no key `chat_template`"))
}

/// As [`repository_template`], of files that lie nowhere, by their names.
pub fn made_template(
    path: &Path,
    texts: &BTreeMap<String, String>,
) -> Result<Option<(String, String)>, TemplateError> {
    const FILE: &str = "tokenizer_config.json";
    let Some(text) = texts.get(FILE) else {
        return Ok(None);
    };
    // The file is made; what was read is the key-value.
    const KEY: &str = "tokenizer.chat_template";
    Ok(template_of_json(text, path)?.map(|template| (KEY.to_owned(), template)))
}

/// The template a repository ships, with the name of its file: `chat_template.jinja`, `chat_template.json`, or the
/// key `chat_template` of `processor_config.json` or `tokenizer_config.json`.
pub fn repository_template(folder: &Path) -> Result<Option<(String, String)>, TemplateError> {
    if let Some(text) = read_in(folder, "chat_template.jinja")? {
        return Ok(Some(("chat_template.jinja".to_owned(), text)));
    }
    for name in [
        "chat_template.json",
        "processor_config.json",
        "tokenizer_config.json",
    ] {
        let path = folder.join(name);
        let Some(text) = read_in(folder, name)? else {
            continue;
        };
        if let Some(template) = template_of_json(&text, &path)? {
            return Ok(Some((name.to_owned(), template)));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<String>, TemplateError> {
    match monocle_files::read_text(path, LARGEST).map_err(io::Error::from) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TemplateError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// As [`read`], for a file of a model's folder: what it names becomes the prompt, so it does not lead out of the folder. Folders of the hub's
/// cache are links to files beside them.
fn read_in(folder: &Path, name: &str) -> Result<Option<String>, TemplateError> {
    let path = folder.join(name);
    let text = read(&path)?;
    if text.is_some() && !is_inside(folder, &path) {
        return Err(TemplateError::Unreadable {
            path,
            source: io::Error::other("it leads out of the model's folder"),
        });
    }
    Ok(text)
}

fn is_inside(folder: &Path, path: &Path) -> bool {
    let (Ok(folder), Ok(path)) = (folder.canonicalize(), path.canonicalize()) else {
        return false;
    };
    let blobs = || {
        let snapshots = folder.ancestors().find(|above| above.ends_with("snapshots"))?;
        Some(snapshots.parent()?.join("blobs"))
    };
    path.starts_with(&folder) || blobs().is_some_and(|blobs| path.starts_with(blobs))
}

/// The key `chat_template`: a string, or several templates by name, of which `default` (or the only one) is meant.
fn template_of_json(text: &str, path: &Path) -> Result<Option<String>, TemplateError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| no_template(path, &format!("it is not valid JSON ({error})")))?;
    let named: Vec<(&str, &Value)> = match &value["chat_template"] {
        Value::Null => return Ok(None),
        Value::String(template) => return Ok(Some(template.clone())),
        Value::Object(map) => map
            .iter()
            .map(|(name, template)| (name.as_str(), template))
            .collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(|entry| Some((entry["name"].as_str()?, &entry["template"])))
            .collect(),
        _ => {
            return Err(no_template(
                path,
                "`chat_template` is neither text nor a list of named templates",
            ));
        }
    };
    let default = named
        .iter()
        .find(|(name, _)| *name == "default")
        .or(match named.as_slice() {
            [only] => Some(only),
            _ => None,
        });
    match default.and_then(|(_, template)| template.as_str()) {
        Some(template) => Ok(Some(template.to_owned())),
        None => {
            let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
            Err(no_template(
                path,
                &format!("expected one named `default`, found {names:?}"),
            ))
        }
    }
}

fn no_template(path: &Path, reason: &str) -> TemplateError {
    TemplateError::NoTemplate {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

impl fmt::Display for TemplateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateSource::Flag => f.write_str("`--template`"),
            TemplateSource::Manifest => f.write_str("the manifest"),
            TemplateSource::Repository(file) => write!(f, "the repository's `{file}`"),
            TemplateSource::Plugin => f.write_str("the plugin"),
            TemplateSource::Plain => f.write_str("the host (plain text)"),
        }
    }
}

/// Bytes of a file that may hold a template: some hold a vocabulary too.
const LARGEST: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Conversation;
    use crate::template::RenderOptions;
    use crate::tokenizer::SpecialTokens;

    fn template_of(json: &str) -> Result<Option<String>, TemplateError> {
        template_of_json(json, Path::new("t.json"))
    }

    #[test]
    #[cfg(unix)]
    fn a_template_is_a_file_of_its_folder() {
        let base = std::env::temp_dir().join(format!("monocle-template-links-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        let (folder, snapshot, blobs) = (base.join("model"), base.join("snapshots/1"), base.join("blobs"));
        for folder in [&folder, &snapshot, &blobs] {
            std::fs::create_dir_all(folder).expect("a new folder");
        }
        let link = |to: &Path, folder: &Path| {
            let path = folder.join("chat_template.jinja");
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink(to, path).expect("a link");
            repository_template(folder)
        };
        std::fs::write(base.join("secret"), "x").expect("a file");
        std::fs::write(blobs.join("1"), "y").expect("a file");
        std::fs::write(folder.join("other.jinja"), "z").expect("a file");
        let refused = |found: Result<Option<(String, String)>, TemplateError>| {
            found.expect_err("it must be refused").to_string()
        };
        let out = refused(link(&base.join("secret"), &folder));
        let out_of_snapshot = refused(link(&base.join("secret"), &snapshot));
        let endless = refused(link(Path::new("/dev/zero"), &folder));
        let beside = link(Path::new("other.jinja"), &folder);
        let blob = link(&blobs.join("1"), &snapshot);
        let _ = std::fs::remove_dir_all(&base);
        assert!(out.contains("leads out of the model's folder"), "{out}");
        assert!(out_of_snapshot.contains("leads out"), "{out_of_snapshot}");
        assert!(endless.contains("it is a device"), "{endless}");
        assert_eq!(beside.ok().flatten().map(|found| found.1).as_deref(), Some("z"));
        assert_eq!(blob.ok().flatten().map(|found| found.1).as_deref(), Some("y"));
    }

    #[test]
    fn the_first_candidate_there_is_wins() {
        let mut candidates = Candidates {
            flag: Some("f".into()),
            manifest: Some("m".into()),
            repository: Some(("r.jinja".into(), "r".into())),
            plugin: Some("p".into()),
            image_marker: "<image>".into(),
        };
        let mut chosen = Vec::new();
        for drop in 0..5 {
            match drop {
                1 => candidates.flag = None,
                2 => candidates.manifest = None,
                3 => candidates.repository = None,
                4 => candidates.plugin = None,
                _ => {}
            }
            let template = choose_template(candidates.clone()).unwrap();
            chosen.push((template.source().clone(), template.text().chars().next().unwrap()));
        }
        let expected = [
            (TemplateSource::Flag, 'f'),
            (TemplateSource::Manifest, 'm'),
            (TemplateSource::Repository("r.jinja".into()), 'r'),
            (TemplateSource::Plugin, 'p'),
            (TemplateSource::Plain, '{'),
        ];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn the_plain_template_joins_the_texts() {
        let template = choose_template(Candidates {
            image_marker: "<'\\i>\n".into(),
            ..Default::default()
        })
        .unwrap();
        let conversation = Conversation::single(Some("Be brief."), 2, "What?");
        let text = template
            .render(
                &conversation,
                &SpecialTokens::default(),
                &RenderOptions::default(),
            )
            .unwrap();
        assert_eq!(text, "Be brief.\n<'\\i>\n<'\\i>\nWhat?");
    }

    #[test]
    fn json_templates_come_in_three_forms() {
        assert_eq!(
            template_of(r#"{"chat_template": "a"}"#).unwrap().as_deref(),
            Some("a")
        );
        let list = r#"{"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(template_of(list).unwrap().as_deref(), Some("d"));
        assert_eq!(
            template_of(r#"{"chat_template": {"only": "o"}}"#)
                .unwrap()
                .as_deref(),
            Some("o")
        );
        assert_eq!(template_of(r#"{"processor_class": "P"}"#).unwrap(), None);
    }

    #[test]
    fn json_without_a_usable_template_says_what_is_there() {
        let error = template_of(r#"{"chat_template": {"a": "1", "b": "2"}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains(r#"found ["a", "b"]"#), "{error}");
        assert!(
            template_of(r#"{"chat_template": 7}"#)
                .unwrap_err()
                .to_string()
                .contains("neither text")
        );
        assert!(
            template_of("{")
                .unwrap_err()
                .to_string()
                .contains("not valid JSON")
        );
    }

    #[test]
    fn an_argument_is_inline_text_or_a_file() {
        let folder = std::env::temp_dir().join(format!("monocle-template-argument-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.jinja"), "from a file").unwrap();
        std::fs::write(folder.join("b.json"), r#"{"chat_template": "from json"}"#).unwrap();
        assert_eq!(read_template_argument("{{ x }}", &folder).unwrap(), "{{ x }}");
        assert_eq!(read_template_argument("a.jinja", &folder).unwrap(), "from a file");
        assert_eq!(read_template_argument("b.json", &folder).unwrap(), "from json");
        let missing = read_template_argument("c.jinja", &folder)
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("c.jinja") && missing.contains("no such file"),
            "{missing}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
