//! OpenAI's chat requests, with the fields that vLLM and llama.cpp added to them.

use monocle_runtime::plugin::contract::ToolCall;
use serde_json::{Map, Value};

use super::{count_of, number_of, seed_of, stops, text_of};
use crate::chat::request::{
    ChatMessage, ChatPart, ChatPicture, ChatRequest, Detail, Format, PictureSource, Sampling, Thinking,
    ToolChoice,
};
use crate::failure::Failure;
use crate::models::keep::KeepAlive;

/// The fields that are read; others are told as ignored.
pub const KNOWN: [&str; 40] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "stop",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "chat_template_kwargs",
    "service_tier",
    "keep_alive",
    "mm_processor_kwargs",
    "user",
    "store",
    "metadata",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "thinking_budget",
    "ttl",
    "prompt",
];

/// Reads a chat request.
pub fn chat(body: &Map<String, Value>) -> Result<ChatRequest, Failure> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => return Err(Failure::invalid("expected a list of messages, at least one").at("messages")),
    };
    let mut chat = common(body)?;
    let read = messages.iter().enumerate();
    chat.messages = read
        .map(|(index, value)| message(value, &format!("messages[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(chat)
}

/// What chats and completions have in common.
pub fn common(body: &Map<String, Value>) -> Result<ChatRequest, Failure> {
    let model = match body.get("model") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(model)) => model.clone(),
        Some(_) => return Err(Failure::invalid("expected a model's name").at("model")),
    };
    let object = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Failure::invalid("expected an object").at(name)),
    };
    let max_tokens = match count_of(body.get("max_completion_tokens"), "max_completion_tokens")? {
        Some(tokens) => Some(tokens),
        None => count_of(body.get("max_tokens"), "max_tokens")?,
    };
    let penalty = |name: &'static str| number_of(body.get(name), name);
    let wants_logprobs = match body.get("logprobs") {
        Some(Value::Bool(wanted)) => *wanted,
        Some(Value::Number(_)) => true,
        _ => false,
    };
    // Completions say here how many, chats whether.
    let top = match body.get("logprobs") {
        Some(number @ Value::Number(_)) => count_of(Some(number), "logprobs")?,
        _ => count_of(body.get("top_logprobs"), "top_logprobs")?,
    };
    let top = top.unwrap_or(0);
    let logit_bias = object("logit_bias")?;
    let biases = logit_bias.iter().map(|(token, bias)| {
        let token = token.parse().ok();
        let bias = bias.as_f64();
        token
            .zip(bias)
            .map(|(token, bias)| (token, bias as f32))
            .ok_or_else(|| Failure::invalid("expected token ids with numbers").at("logit_bias"))
    });
    let sampling = Sampling {
        temperature: penalty("temperature")?,
        top_k: count_of(body.get("top_k"), "top_k")?,
        top_p: penalty("top_p")?,
        min_p: penalty("min_p")?,
        repetition_penalty: penalty("repetition_penalty")?.or(penalty("repeat_penalty")?),
        presence_penalty: penalty("presence_penalty")?,
        frequency_penalty: penalty("frequency_penalty")?,
        logit_bias: match logit_bias.is_empty() {
            true => None,
            false => Some(biases.collect::<Result<_, _>>()?),
        },
        seed: seed_of(body.get("seed"), "seed")?,
        logprobs: wants_logprobs.then_some(top),
    };
    let effort = text_of(body, "reasoning_effort").map(str::to_owned);
    let thinking = Thinking {
        enabled: effort.as_deref().map(|effort| effort != "none"),
        effort: effort.filter(|effort| effort != "none"),
        budget: count_of(body.get("thinking_budget"), "thinking_budget")?,
    };
    let keep = body
        .get("keep_alive")
        .or(body.get("ttl"))
        .filter(|value| !value.is_null());
    let keep_alive = match keep {
        None => None,
        Some(value) => Some(
            KeepAlive::parse(value)
                .ok_or_else(|| Failure::invalid("expected a duration, like `5m` or 300").at("keep_alive"))?,
        ),
    };
    let max_pixels = object("mm_processor_kwargs")?
        .get("max_pixels")
        .and_then(Value::as_u64);
    Ok(ChatRequest {
        model,
        sampling,
        thinking,
        max_tokens,
        stop: stops(body.get("stop"), "stop")?,
        format: format(body)?,
        tools: tools(body)?,
        tool_choice: tool_choice(body.get("tool_choice"))?,
        parallel_tool_calls: body.get("parallel_tool_calls") != Some(&Value::Bool(false)),
        variables: object("chat_template_kwargs")?,
        count: count_of(body.get("n"), "n")?.unwrap_or(1),
        bulk: matches!(text_of(body, "service_tier"), Some("flex" | "batch")),
        keep_alive,
        max_pixels: max_pixels.filter(|pixels| *pixels > 0),
        ..ChatRequest::default()
    })
}

fn format(body: &Map<String, Value>) -> Result<Format, Failure> {
    let own = body.get("structured_outputs").and_then(Value::as_object);
    let guided = |old: &str, new: &str| {
        let found = body.get(old).or_else(|| own?.get(new));
        found.filter(|value| !value.is_null())
    };
    let text = |value: &Value, name: &str| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::invalid("expected a text").at(name))
    };
    if let Some(schema) = guided("guided_json", "json") {
        return Ok(Format::JsonSchema {
            schema: schema.clone(),
            strict: false,
        });
    }
    if let Some(regex) = guided("guided_regex", "regex") {
        return Ok(Format::Regex(text(regex, "guided_regex")?));
    }
    if let Some(grammar) = guided("guided_grammar", "grammar") {
        return Ok(Format::Grammar(text(grammar, "guided_grammar")?));
    }
    if let Some(choice) = guided("guided_choice", "choice") {
        let wrong = || Failure::invalid("expected a list of texts").at("guided_choice");
        let list = choice.as_array().ok_or_else(wrong)?.iter();
        let texts = list.map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong));
        return Ok(Format::Choice(texts.collect::<Result<_, _>>()?));
    }
    let Some(format) = body.get("response_format").filter(|value| !value.is_null()) else {
        return Ok(Format::Text);
    };
    match format["type"].as_str() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => {
            let schema = format["json_schema"]
                .get("schema")
                .or_else(|| format.get("schema"));
            let schema = schema.filter(|schema| schema.is_object() || schema.is_boolean());
            let missing =
                || Failure::invalid("expected a JSON schema").at("response_format.json_schema.schema");
            let strict = format["json_schema"]["strict"] == Value::Bool(true);
            let schema = schema.cloned().ok_or_else(missing)?;
            Ok(Format::JsonSchema { schema, strict })
        }
        _ => Err(
            Failure::invalid("expected `text`, `json_object` or `json_schema`").at("response_format.type"),
        ),
    }
}

/// Kinds of tools other than functions are left out: one of them must not end every turn.
fn tools(body: &Map<String, Value>) -> Result<Vec<Map<String, Value>>, Failure> {
    match body.get("tools") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(tools)) => {
            let functions = tools.iter().filter_map(Value::as_object);
            let functions = functions.filter(|tool| tool.get("type").is_none_or(|kind| kind == "function"));
            Ok(functions
                .filter(|tool| tool.contains_key("function"))
                .cloned()
                .collect())
        }
        Some(_) => Err(Failure::invalid("expected a list of tools").at("tools")),
    }
}

fn tool_choice(value: Option<&Value>) -> Result<ToolChoice, Failure> {
    match value {
        None | Some(Value::Null) => Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(Failure::invalid("expected `auto`, `none`, `required` or a function").at("tool_choice")),
        },
        Some(value) => match value["function"]["name"].as_str().or(value["name"].as_str()) {
            Some(name) => Ok(ToolChoice::Named(name.to_owned())),
            None => {
                Err(Failure::invalid("expected `auto`, `none`, `required` or a function").at("tool_choice"))
            }
        },
    }
}

/// A message of a conversation.
pub fn message(value: &Value, path: &str) -> Result<ChatMessage, Failure> {
    let Some(object) = value.as_object() else {
        return Err(Failure::invalid("expected a message, an object").at(path));
    };
    let role = match text_of(object, "role") {
        // What OpenAI calls the system's message now.
        Some("developer") => "system",
        Some("function") => "tool",
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        _ => {
            let expected = "expected one of system, developer, user, assistant, tool";
            return Err(Failure::invalid(expected).at(format!("{path}.role")));
        }
    };
    let reasoning = text_of(object, "reasoning_content").or_else(|| text_of(object, "reasoning"));
    let calls = object.get("tool_calls").and_then(Value::as_array);
    Ok(ChatMessage {
        role: role.to_owned(),
        parts: content(object.get("content"), &format!("{path}.content"))?,
        reasoning: reasoning.map(str::to_owned),
        tool_calls: calls
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(index, call)| tool_call(call, &format!("{path}.tool_calls[{index}]")))
            .collect::<Result<_, _>>()?,
        tool_call: text_of(object, "tool_call_id").map(str::to_owned),
        name: text_of(object, "name").map(str::to_owned),
    })
}

/// A call that the assistant made; arguments are JSON in a text, or an object.
pub fn tool_call(call: &Value, path: &str) -> Result<ToolCall, Failure> {
    let name = call["function"]["name"].as_str().unwrap_or_default().to_owned();
    let arguments = match &call["function"]["arguments"] {
        Value::Object(arguments) => arguments.clone(),
        Value::String(text) if text.trim().is_empty() => Map::new(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => arguments,
            _ => {
                return Err(
                    Failure::invalid("expected a JSON object").at(format!("{path}.function.arguments"))
                );
            }
        },
        _ => Map::new(),
    };
    let id = call["id"].as_str().map(str::to_owned);
    Ok(ToolCall { id, name, arguments })
}

/// What a message says: a text, or a list of parts.
pub fn content(value: Option<&Value>, path: &str) -> Result<Vec<ChatPart>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![ChatPart::Text(text.clone())]),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            parts
                .map(|(index, value)| part(value, format!("{path}[{index}]")))
                .collect()
        }
        Some(_) => Err(Failure::invalid("expected a text, or a list of parts").at(path)),
    }
}

fn part(value: &Value, path: String) -> Result<ChatPart, Failure> {
    let text = |field: &str| match value[field].as_str() {
        Some(text) => Ok(ChatPart::Text(text.to_owned())),
        None => Err(Failure::invalid("expected a text").at(format!("{path}.{field}"))),
    };
    match value["type"].as_str() {
        Some("text" | "input_text" | "output_text") => text("text"),
        Some("refusal") => text("refusal"),
        Some("image_url" | "input_image" | "image") => {
            let image = &value["image_url"];
            let address = image.as_str().or(image["url"].as_str());
            let Some(address) = address else {
                let message = match value.get("file_id") {
                    Some(_) => {
                        "there is no store of files here; send the picture's bytes as `data:image/png;base64,…`"
                    }
                    None => "expected `image_url` with a `url`",
                };
                return Err(Failure::invalid(message).at(path));
            };
            let word = image["detail"].as_str().or(value["detail"].as_str());
            let Some(detail) = Detail::parse(word.unwrap_or("auto")) else {
                return Err(Failure::invalid("expected auto, low, high or original")
                    .at(format!("{path}.image_url.detail")));
            };
            Ok(ChatPart::Picture(ChatPicture {
                source: PictureSource::Address(address.to_owned()),
                detail,
                path,
            }))
        }
        Some("file" | "input_file") => {
            let file = value.get("file").unwrap_or(value);
            match file["file_data"].as_str() {
                Some(data) => Ok(ChatPart::Picture(ChatPicture {
                    source: match data.starts_with("data:") {
                        true => PictureSource::Address(data.to_owned()),
                        false => PictureSource::Base64(data.to_owned()),
                    },
                    detail: Detail::Model,
                    path,
                })),
                None => Err(Failure::invalid(
                    "there is no store of files here; send the picture's bytes in `file_data`, or as an `image_url`",
                )
                .at(path)),
            }
        }
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            Err(Failure::invalid(format!(
                "expected a part of type text or image_url, found `{other}`"
            ))
            .at(path))
        }
        None => Err(Failure::invalid("expected a part with a `type`").at(path)),
    }
}
