//! The JSON Schema and the reference page, both made from the types.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

use crate::check::{type_name, words};
use crate::schema::Manifest;
use crate::served::Served;

/// The JSON Schema of the manifest, for editors and for the checks themselves.
pub fn json_schema() -> Json {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    without_null(&mut schema);
    schema
}

/// The same of manifests of served models.
pub(crate) fn served_schema() -> Json {
    let mut schema = schemars::schema_for!(Served).to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: an optional key is left out. Schemars writes `T or null`, which would only confuse.
fn without_null(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(without_null),
        Json::Object(object) => {
            if let Some(Json::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(branches)) = object.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [only] = branches.as_slice() {
                    let only = only.as_object().cloned().unwrap_or_default();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if object.get("default") == Some(&Json::Null) {
                object.remove("default");
            }
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// The reference page of the manifest, in Markdown.
pub fn reference_page() -> String {
    let schema = json_schema();
    let mut page = String::from(PREFACE);
    let properties = object(&schema["properties"]);
    table(&mut page, &schema, &schema, "Top of the file");
    for (key, property) in properties {
        for form in forms(&schema, property) {
            if form["properties"].is_object() {
                section(&mut page, &schema, property, form, key);
            }
        }
    }
    page.push_str(EXAMPLE);
    page.push_str(SERVED);
    let served = served_schema();
    table(&mut page, &served, &served, "Top of the file of a served model");
    let server = resolve(&served, &served["properties"]["server"]);
    table(&mut page, &served, server, "`[server]`");
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

const SERVED: &str = "
# Models that another program serves

A manifest with `[server]` names a model behind an OpenAI-style interface: of llama.cpp's `llama-server`, mlx-vlm, vLLM, Ollama, or `monocle serve`
itself. `monocle check` and `monocle eval` ask it beside the models that Monocle runs; other commands refuse it. What they measure is what a client
sees: the time to the first piece of the answer, the time to its end, and the numbers of tokens that the server states.

```toml
schema = 1
name   = \"other\"

[server]
url     = \"http://127.0.0.1:8080/v1\"
command = [\"llama-server\", \"-m\", \"model.gguf\", \"--mmproj\", \"mmproj.gguf\", \"--port\", \"8080\"]
health  = \"/health\"
options = { temperature = 0 }
```

";

const PREFACE: &str = "\
# The manifest

<!-- Made from the types in plugin-api/manifest/src/schema.rs; refresh with:
     cargo run --release -p monocle-manifest --example reference -->

One TOML file declares one model: which plugin knows its architecture, where its files are, and whatever should differ
from what those files say. Every key that is not marked *required* may be left out.

An unknown key, a value of the wrong type or out of range, a broken regular expression, a template or folder that is
not there: each is refused with file, line, column, key and, where there is one, the nearest right key.

";

const EXAMPLE: &str = "\
## An example

```toml
schema = 1
name   = \"smolvlm-500m\"
plugin = { name = \"smolvlm\", version = \"0.1\" }

[source]
repo = \"HuggingFaceTB/SmolVLM-500M-Instruct\"

[prompt]
template = \"chatml.jinja\"    # a file beside the manifest

[image]
max_pixels = 4_000_000

[generation]
stop        = [\"Question:\"]
temperature = 0.0

[output]
reasoning = { start = \"<think>\", end = \"</think>\" }

[weights]
rename = [[\"^language_model\\\\.model\\\\.\", \"model.\"]]
```

Editors that know JSON Schema (through Taplo, for one) complete and check manifests that begin with
`#:schema manifest.schema.json`.
";

/// One table, and the tables inside it.
fn section(page: &mut String, root: &Json, property: &Json, form: &Json, path: &str) {
    let text = property["description"]
        .as_str()
        .or(form["description"].as_str())
        .unwrap_or_default();
    table(page, root, form, &format!("`[{path}]`\n\n{}", flat(text)));
    for (key, inner) in object(&form["properties"]) {
        for inner_form in forms(root, inner) {
            if inner_form["properties"].is_object() {
                section(page, root, inner, inner_form, &format!("{path}.{key}"));
            }
        }
    }
}

fn table(page: &mut String, root: &Json, schema: &Json, heading: &str) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let _ = write!(page, "## {heading}\n\n| Key | Value | Meaning |\n|---|---|---|\n");
    for (key, property) in object(&schema["properties"]) {
        let kind: Vec<String> = forms(root, property)
            .into_iter()
            .map(|form| kind(root, form))
            .collect();
        let own = property["description"].as_str();
        let text = own.or(forms(root, property)
            .first()
            .and_then(|form| form["description"].as_str()));
        let mark = if required.contains(&key.as_str()) {
            " *required*"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| `{key}`{mark} | {} | {} |",
            kind.join(" or "),
            flat(text.unwrap_or_default())
        );
    }
    page.push('\n');
}

/// The forms that a value may take, references followed.
fn forms<'a>(root: &'a Json, schema: &'a Json) -> Vec<&'a Json> {
    let schema = resolve(root, schema);
    match schema["anyOf"].as_array() {
        Some(branches) => branches.iter().map(|branch| resolve(root, branch)).collect(),
        None => vec![schema],
    }
}

fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(schema),
        None => schema,
    }
}

/// A value's type and range, for people.
fn kind(root: &Json, schema: &Json) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    if schema["type"] == "array" {
        let items = match schema["prefixItems"].as_array() {
            Some(prefix) => prefix.iter().collect(),
            None => vec![&schema["items"]],
        };
        let items: Vec<String> = items.iter().map(|item| kind(root, resolve(root, item))).collect();
        // What has as many as it has at least is a pair.
        let most = match (&schema["minItems"], schema["maxItems"].as_u64()) {
            (Json::Null, Some(most)) => format!(" of at most {most}"),
            _ => String::new(),
        };
        return format!("a list{most} of: {}", items.join(", "));
    }
    if schema["format"] == "regex" {
        return "a regular expression".to_owned();
    }
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) if least == most => format!("{least}"),
        (Some(least), Some(most)) => format!("{}, {least} to {most}", type_name(schema)),
        (Some(least), None) if least > 0.0 => format!("{}, at least {least}", type_name(schema)),
        _ => type_name(schema).to_owned(),
    }
}

fn object(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema.as_object().into_iter().flat_map(Map::iter)
}

/// A doc comment on one line, safe inside a Markdown table.
fn flat(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
