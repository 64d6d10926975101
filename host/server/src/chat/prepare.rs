//! From a conversation to what an engine can take: pictures are got, the prompt is planned, nothing is computed. It takes a while, so it runs on a
//! thread for such work.

use monocle_constraint::{Constraint, Grammar};
use monocle_runtime::budget::Bounds;
use monocle_runtime::error::RequestError;
use monocle_runtime::memory::MemoryLimit;
use monocle_runtime::model::Model;
use monocle_runtime::plugin::contract::{Content, Message, Part};
use monocle_runtime::request::count::{self, PromptCount};
use monocle_runtime::request::prepare::PreparedRequest;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::terms::Terms;
use serde_json::Value;

use super::calls::Calling;
use super::pictures::{self, PicturePlaces};
use super::request::{ChatMessage, ChatPart, ChatRequest, Format, ToolChoice};
use crate::engine::Engine;
use crate::failure::Failure;

/// The most tokens that are told beside a chosen one: what OpenAI allows.
const MOST_LOGPROBS: usize = 20;
/// Tokens of one prefill step.
const CHUNK: usize = 512;

/// Refuses what no model can do.
pub fn check(chat: &ChatRequest) -> Result<(), Failure> {
    let top = chat.sampling.logprobs.unwrap_or(0);
    if top > MOST_LOGPROBS {
        let message = format!("expected {MOST_LOGPROBS} or fewer, found {top}");
        return Err(Failure::invalid(message).at("top_logprobs"));
    }
    Ok(())
}

/// How the answer is to be generated; what the client does not say, the model does.
pub fn options(chat: &ChatRequest, model: &Model, number: usize) -> Result<GenerateOptions, Failure> {
    let generation = &model.settings.generation;
    let mut sampling = generation.sampling();
    let asked = &chat.sampling;
    sampling.temperature = asked.temperature.unwrap_or(sampling.temperature);
    sampling.top_k = asked.top_k.unwrap_or(sampling.top_k);
    sampling.top_p = asked.top_p.unwrap_or(sampling.top_p);
    sampling.min_p = asked.min_p.unwrap_or(sampling.min_p);
    sampling.repetition_penalty = asked.repetition_penalty.unwrap_or(sampling.repetition_penalty);
    sampling.presence_penalty = asked.presence_penalty.unwrap_or(sampling.presence_penalty);
    sampling.frequency_penalty = asked.frequency_penalty.unwrap_or(sampling.frequency_penalty);
    if let Some(biases) = &asked.logit_bias {
        let tokenizer = model.tokenizer();
        if let Some((unknown, _)) = biases.iter().find(|(id, _)| tokenizer.token(*id).is_none()) {
            let message = format!("the model has no token {unknown}");
            return Err(Failure::invalid(message).at("logit_bias"));
        }
        sampling.logit_bias.clone_from(biases);
    }
    let seed = match asked.seed {
        Some(seed) => seed,
        // Two people who ask the same at a temperature want two answers.
        None if sampling.temperature > 0.0 => getrandom::u64().unwrap_or(sampling.seed),
        None => sampling.seed,
    };
    sampling.seed = seed.wrapping_add(number as u64);
    sampling
        .validate()
        .map_err(|error| Failure::invalid(error.to_string()))?;
    Ok(GenerateOptions {
        max_tokens: chat.max_tokens.unwrap_or(generation.max_tokens.value),
        sampling,
        stop: chat.stop.clone(),
        prefill_chunk: CHUNK,
        thinking_budget: chat.thinking.budget.or(model.settings.thinking_budget),
        grammar: None,
        logprobs: asked.logprobs,
        keep_tokens: Vec::new(),
        ignore_end: false,
    })
}

/// What the answer must look like, compiled: a second's work at most.
pub fn grammar(
    chat: &ChatRequest,
    model: &Model,
    calling: Option<&Calling>,
) -> Result<Option<Grammar>, Failure> {
    if let Some(calling) = calling
        && let Some(constraint) = calling.constraint(model)?
    {
        return compiled(model, &constraint, "tools").map(Some);
    }
    let constraint = match &chat.format {
        Format::Text => return Ok(None),
        Format::JsonObject => Constraint::JsonObject,
        Format::JsonSchema { schema, strict } => Constraint::JsonSchema {
            schema: schema.clone(),
            strict: *strict,
        },
        Format::Regex(expression) => Constraint::Regex(expression.clone()),
        Format::Grammar(text) => Constraint::Lark(text.clone()),
        Format::Choice(texts) => Constraint::Choice(texts.clone()),
    };
    compiled(model, &constraint, "response_format").map(Some)
}

fn compiled(model: &Model, constraint: &Constraint, place: &str) -> Result<Grammar, Failure> {
    let grammar = model.grammar(constraint);
    grammar.map_err(|error| Failure::from(RequestError::from(error)).at(place))
}

/// The runtime's request, with its pictures.
pub fn request(
    chat: &ChatRequest,
    model: &Model,
    places: &PicturePlaces,
    gone: &dyn Fn() -> bool,
) -> Result<Request, Failure> {
    let found: Vec<_> = chat.messages.iter().flat_map(ChatMessage::pictures).collect();
    let mut request = Request {
        pictures: pictures::get(&found, places, chat.max_pixels, gone)?,
        tools: match chat.tool_choice {
            ToolChoice::None => Vec::new(),
            ToolChoice::Auto | ToolChoice::Required | ToolChoice::Named(_) => chat.tools.clone(),
        },
        variables: chat.variables.clone(),
        messages: Vec::new(),
    };
    if let Some(enabled) = chat.thinking.enabled {
        request
            .variables
            .entry("enable_thinking")
            .or_insert(Value::Bool(enabled));
    }
    if let Some(effort) = &chat.thinking.effort {
        let effort = Value::String(effort.clone());
        request.variables.entry("reasoning_effort").or_insert(effort);
    }
    let has_system = chat.messages.first().is_some_and(|first| first.role == "system");
    if let Some(system) = model
        .settings
        .system
        .as_deref()
        .filter(|_| !has_system && !chat.raw)
    {
        request.add_system(system);
    }
    let mut next = 0;
    for message in &chat.messages {
        let mut parts: Vec<Part> = Vec::new();
        for part in &message.parts {
            parts.push(match part {
                ChatPart::Text(text) => Part::Text(text.clone()),
                ChatPart::Picture(_) => {
                    next += 1;
                    Part::Image(next - 1)
                }
            });
        }
        let only_text = parts.iter().all(|part| matches!(part, Part::Text(_)));
        let content = match message.role.as_str() {
            "assistant" | "tool" if only_text => Content::Text(text(&parts)),
            _ => Content::Parts(parts),
        };
        let mut planned = Message::new(&message.role, content);
        planned.reasoning.clone_from(&message.reasoning);
        planned.tool_calls.clone_from(&message.tool_calls);
        planned.tool_call.clone_from(&message.tool_call);
        planned.name.clone_from(&message.name);
        request.messages.push(planned);
    }
    Ok(request)
}

fn text(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) => None,
    });
    texts.collect::<Vec<_>>().join("")
}

/// The same with pictures of tools' results in a user's message behind them, for templates that show no pictures there.
pub fn with_tool_pictures_apart(request: &Request) -> Option<Request> {
    let is_image = |part: &Part| matches!(part, Part::Image(_));
    let has = |message: &Message| match &message.content {
        Content::Parts(parts) if message.role == "tool" => parts.iter().any(is_image),
        _ => false,
    };
    if !request.messages.iter().any(has) {
        return None;
    }
    let mut apart = Request {
        messages: Vec::new(),
        ..request.clone()
    };
    let mut held: Vec<Part> = Vec::new();
    for message in &request.messages {
        if message.role != "tool" && !held.is_empty() {
            let parts = std::mem::take(&mut held);
            apart.messages.push(Message::new("user", Content::Parts(parts)));
        }
        let mut message = message.clone();
        if has(&message)
            && let Content::Parts(parts) =
                std::mem::replace(&mut message.content, Content::Text(String::new()))
        {
            let (images, texts): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(is_image);
            message.content = Content::Text(text(&texts));
            held.extend(images);
        }
        apart.messages.push(message);
    }
    if !held.is_empty() {
        apart.messages.push(Message::new("user", Content::Parts(held)));
    }
    Some(apart)
}

/// Plans it.
pub fn plan(
    engine: &Engine,
    chat: &ChatRequest,
    request: &Request,
    options: &GenerateOptions,
    terms: Terms,
) -> Result<PreparedRequest, RequestError> {
    let model = if chat.raw {
        engine.plain()
    } else {
        engine.model.as_ref()
    };
    let limit = MemoryLimit {
        bytes: engine.limit(),
        source: "the server's limit",
    };
    let bounds = Bounds {
        memory: (limit.bytes < usize::MAX).then_some(limit),
        terms,
    };
    let prepare = |request: &Request| {
        PreparedRequest::new(
            model,
            &engine.recordings,
            request,
            options.max_tokens,
            options.prefill_chunk,
            bounds,
        )
    };
    match (prepare(request), with_tool_pictures_apart(request)) {
        (Err(RequestError::Plugin(_)), Some(apart)) => prepare(&apart),
        (result, _) => result,
    }
}

/// Counts its prompt's tokens.
pub fn count(engine: &Engine, chat: &ChatRequest, request: &Request) -> Result<PromptCount, RequestError> {
    let model = if chat.raw {
        engine.plain()
    } else {
        engine.model.as_ref()
    };
    match (count::count(model, request), with_tool_pictures_apart(request)) {
        (Err(RequestError::Plugin(_)), Some(apart)) => count::count(model, &apart),
        (result, _) => result,
    }
}
