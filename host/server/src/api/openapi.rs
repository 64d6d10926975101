//! The description of the interfaces that programs read: `GET /openapi.json`.

use axum::response::Response;
use serde_json::Value;

use crate::http::reply::json_reply;

/// `GET /openapi.json`
pub async fn openapi() -> Response {
    json_reply(&description())
}

/// The description, with this program's version.
fn description() -> Value {
    let mut description: Value = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    description
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{anthropic, ollama, openai_read, responses};

    /// Every field that is read is described, and no other.
    #[test]
    fn fields_that_are_read_are_described() {
        let description = description();
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
        let fields = |name: &str| -> Vec<String> {
            let schema = &description["components"]["schemas"][name]["properties"];
            schema.as_object().expect("properties").keys().cloned().collect()
        };
        let check = |known: &[&str], schemas: &[&str]| {
            let mut described: Vec<String> = schemas.iter().flat_map(|name| fields(name)).collect();
            described.sort();
            described.dedup();
            let mut known: Vec<&str> = known.to_vec();
            known.sort_unstable();
            assert_eq!(described, known, "{schemas:?}");
        };
        check(&openai_read::KNOWN, &["ChatRequest", "CompletionRequest"]);
        check(&responses::KNOWN, &["ResponsesRequest"]);
        check(&anthropic::KNOWN, &["MessagesRequest"]);
        check(&ollama::KNOWN, &["OllamaChatRequest", "OllamaGenerateRequest"]);
        check(&ollama::OPTIONS, &["OllamaOptions"]);
    }

    /// What refers to a part of the description finds it.
    #[test]
    fn references_lead_somewhere() {
        fn check(whole: &Value, value: &Value) {
            if let Some(place) = value["$ref"].as_str() {
                let place = place.strip_prefix('#').expect("a place in this description");
                assert!(whole.pointer(place).is_some(), "{place}");
            }
            match value {
                Value::Object(object) => object.values().for_each(|value| check(whole, value)),
                Value::Array(list) => list.iter().for_each(|value| check(whole, value)),
                _ => {}
            }
        }
        let description = description();
        check(&description, &description);
    }
}
