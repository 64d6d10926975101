//! An answer on its way: from a conversation to pieces of text and the account at the end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use monocle_runtime::error::RequestError;
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::terms::{Class, Terms};
use monocle_text::{FinishReason, TokenLogprobs};
use monocle_tools::{CallParser, Found};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Sleep;

use super::calls::{self, Calling};
use super::prepare;
use super::request::ChatRequest;
use crate::app::{App, Place};
use crate::engine::{Given, NotTaken};
use crate::failure::{Failure, Kind};
use crate::late::{Last, within};
use crate::models::registry::{self, Lease, blocking};

/// What comes of an answer. The last piece is one of the last two.
#[derive(Debug)]
pub enum Piece {
    /// What the model thought at the tokens of the text that comes next.
    Logprobs(Vec<TokenLogprobs>),
    /// More of its text.
    Text(String),
    /// More of the thoughts before it.
    Reasoning(String),
    /// A tool that it calls.
    Call(Call),
    /// All of it came.
    Done(Box<Summary>),
    /// No more comes.
    Failed(Failure),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its name, for the result to refer to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with.
    pub arguments: Map<String, Value>,
}

/// Why an answer ended, as all interfaces tell it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// It waits for what its calls give.
    Calls,
    /// A text that was to end it came.
    StopString(String),
    /// As many tokens as were allowed.
    Length,
    /// The model's context is full.
    Context,
}

/// The account of an answer.
#[derive(Debug)]
pub struct Summary {
    /// All of its text.
    pub text: String,
    /// The tools that it calls.
    pub calls: Vec<Call>,
    /// What the model thought at its tokens, where that was asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Whether that was asked for.
    pub wants_logprobs: bool,
    /// All of its reasoning.
    pub reasoning: String,
    /// Why it ended.
    pub finish: Finish,
    /// What was computed.
    pub usage: Usage,
    /// What the server reports of it, the whole.
    pub report: Report,
}

/// Tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt, pictures expanded.
    pub prompt: usize,
    /// Those of them that were known.
    pub cached: usize,
    /// Those of them that hold pictures.
    pub images: usize,
    /// Of the answer, reasoning with it.
    pub answer: usize,
    /// Of the reasoning.
    pub reasoning: usize,
}

impl Usage {
    fn of(report: &Report) -> Self {
        let prompt = &report.prompt;
        Self {
            prompt: prompt.tokens + prompt.encoder_tokens.unwrap_or(0),
            cached: prompt.cached_tokens,
            images: prompt.image_tokens,
            answer: report.output.tokens,
            reasoning: report.output.reasoning_tokens,
        }
    }
}

impl Summary {
    fn new(report: Report) -> Self {
        let finish = match &report.output.finish {
            FinishReason::EndToken { .. }
            | FinishReason::Complete
            | FinishReason::Empty
            | FinishReason::Cancelled => Finish::Stop,
            FinishReason::StopString { stop } => Finish::StopString(stop.clone()),
            FinishReason::MaxTokens => Finish::Length,
            FinishReason::ContextFull => Finish::Context,
        };
        Self {
            text: report.output.text.clone(),
            calls: Vec::new(),
            logprobs: Vec::new(),
            wants_logprobs: false,
            reasoning: report.output.reasoning.clone(),
            finish,
            usage: Usage::of(&report),
            report,
        }
    }

    /// What became of the pictures, what the answer says of places in them, what the user should know, and where the time went: an extension that
    /// clients may pass over.
    pub fn account(&self) -> Value {
        let images: Vec<Value> = self
            .report
            .images
            .iter()
            .map(|image| {
                json!({
                    "name": image.name,
                    "format": image.format,
                    "given": [image.given.width, image.given.height],
                    "used": [image.used.width, image.used.height],
                    "tiles": image.tiles,
                    "tokens": image.tokens,
                    "cached": image.cached,
                    "steps": image.steps,
                })
            })
            .collect();
        let mut account = json!({
            "images": images,
            "notes": self.report.notes,
            "timings": self.report.timings,
        });
        if !self.report.parts.is_empty() {
            account["parts"] = json!(self.report.parts);
        }
        account
    }
}

/// An answer that was begun. Dropping it ends it.
pub struct Answering {
    given: UnboundedReceiver<Given>,
    ready: std::collections::VecDeque<Piece>,
    over: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The model, and the request's place in the queue.
    pub lease: Lease,
    wants_logprobs: bool,
    /// Finds calls of tools, where there are some.
    parser: Option<CallParser>,
    /// What it left of the text.
    text: String,
    calls: Vec<Call>,
    app: Arc<App>,
    started: Instant,
    /// When nobody waits for more of it.
    overdue: Option<(Last, Pin<Box<Sleep>>)>,
    first: Option<Instant>,
    last: Option<Instant>,
    _place: Place,
}

/// Tells a thread that nobody waits for it any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Begins an answer: it is taken in when this returns. `number` tells several answers to one request apart.
pub async fn begin(
    app: &Arc<App>,
    chat: &Arc<ChatRequest>,
    place: Place,
    number: usize,
) -> Result<Answering, Failure> {
    let started = Instant::now();
    let last = Last::of(started, app.options.longest);
    within(last, taken_in(app, chat, place, number, started)).await
}

async fn taken_in(
    app: &Arc<App>,
    chat: &Arc<ChatRequest>,
    place: Place,
    number: usize,
    started: Instant,
) -> Result<Answering, Failure> {
    prepare::check(chat)?;
    let lease = app.registry.lease(&chat.model, chat.keep_alive).await?;
    let wants_logprobs = chat.sampling.logprobs.is_some();
    let calling = Calling::new(chat, &lease.engine.model)?;
    let mut options = prepare::options(chat, &lease.engine.model, number)?;
    if let Some(calling) = &calling {
        options.keep_tokens.clone_from(&calling.keep_tokens);
    }
    let terms = Terms {
        started,
        longest_wait: app.options.longest_wait,
        longest: app.options.longest,
        class: if chat.bulk {
            Class::Bulk
        } else {
            Class::Interactive
        },
    };
    let mut freed = false;
    loop {
        // As many at once as there are processors: what waits holds no pictures yet.
        let turn = app.preparing.acquire().await;
        let gone = Gone(Arc::default());
        let (chat, app_there, engine) = (Arc::clone(chat), Arc::clone(app), Arc::clone(&lease.engine));
        let (is_gone, plan_options) = (Arc::clone(&gone.0), options.clone());
        let calling_there = calling.clone();
        let prepared = blocking(move || {
            let gone = || is_gone.load(Ordering::Relaxed);
            let request = prepare::request(&chat, &engine.model, &app_there.options.pictures, &gone)?;
            if gone() {
                return Err(Failure::invalid("the client is gone"));
            }
            let grammar = prepare::grammar(&chat, &engine.model, calling_there.as_ref())?;
            let plan = prepare::plan(&engine, &chat, &request, &plan_options, terms);
            let plan = plan.map_err(|error| too_large_or(error, &chat))?;
            Ok((plan, grammar))
        })
        .await?;
        drop(turn);
        let (prepared, grammar) = prepared?;
        let options = GenerateOptions {
            grammar,
            ..options.clone()
        };
        let prompt_tokens = prepared.prompt.len() + prepared.encoder_ids().map_or(0, <[u32]>::len);
        match lease.engine.submit(prepared, options, terms).await {
            Ok(given) => {
                return Ok(Answering {
                    given,
                    ready: Default::default(),
                    over: false,
                    prompt_tokens,
                    lease,
                    wants_logprobs,
                    parser: calling.as_ref().map(Calling::parser),
                    text: String::new(),
                    calls: Vec::new(),
                    app: Arc::clone(app),
                    started,
                    overdue: Last::of(started, app.options.longest).map(|last| (last, last.sleep())),
                    first: None,
                    last: None,
                    _place: place,
                });
            }
            Err(NotTaken::Dead) => return Err(registry::dead(&lease.name)),
            // It may fit when the others are gone.
            Err(NotTaken::Refused(RequestError::TooLarge { .. })) if !freed => {
                freed = true;
                app.registry.free_others(&lease.name).await;
            }
            Err(NotTaken::Refused(error)) => return Err(error.into()),
        }
    }
}

/// An error with the place of the picture that it is about.
fn too_large_or(error: RequestError, chat: &ChatRequest) -> Failure {
    let name = match &error {
        RequestError::Image { name, .. } | RequestError::TooManyPixels { name, .. } => Some(name.clone()),
        _ => None,
    };
    let failure = Failure::from(error);
    let number = name.as_deref().and_then(|name| name.strip_prefix("picture "));
    let number = number.and_then(|number| number.parse::<usize>().ok());
    let mut found = chat
        .messages
        .iter()
        .flat_map(super::request::ChatMessage::pictures);
    match number.and_then(|number| found.nth(number.wrapping_sub(1))) {
        Some(picture) => failure.at(picture.path.clone()),
        None => failure,
    }
}

impl Answering {
    /// The next piece; nothing after the last.
    pub async fn next(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Answering::next`], for those who wait for several.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(piece));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let Poll::Ready(given) = self.given.poll_recv(context) else {
                let Some((last, moment)) = &mut self.overdue else {
                    return Poll::Pending;
                };
                if moment.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                let failure = last.failure();
                self.over = true;
                self.app.metrics.refused(failure.kind);
                return Poll::Ready(Some(Piece::Failed(failure)));
            };
            let last = match given {
                Some(Given::Logprobs(logprobs)) => {
                    self.ready.push_back(Piece::Logprobs(logprobs));
                    continue;
                }
                Some(Given::Text(delta)) => {
                    let now = Instant::now();
                    self.app
                        .metrics
                        .token_time(&self.lease.name, self.started, self.first, self.last, now);
                    self.first.get_or_insert(now);
                    self.last = Some(now);
                    if !delta.reasoning.is_empty() {
                        self.ready.push_back(Piece::Reasoning(delta.reasoning));
                    }
                    match &mut self.parser {
                        Some(parser) => {
                            let found = parser.push(&delta.text);
                            self.found(found);
                        }
                        None if delta.text.is_empty() => {}
                        None => self.ready.push_back(Piece::Text(delta.text)),
                    }
                    continue;
                }
                Some(Given::Done(report)) => {
                    self.app.metrics.done(&self.lease.name, &report);
                    let mut summary = Summary::new(*report);
                    summary.wants_logprobs = self.wants_logprobs;
                    summary.report.notes.extend(self.lease.note.clone());
                    if let Some(mut parser) = self.parser.take() {
                        self.found(parser.finish());
                        summary.text = std::mem::take(&mut self.text);
                        summary.calls = std::mem::take(&mut self.calls);
                        if !summary.calls.is_empty() && summary.finish == Finish::Stop {
                            summary.finish = Finish::Calls;
                        }
                    }
                    self.ready.push_back(Piece::Done(Box::new(summary)));
                    self.over = true;
                    continue;
                }
                Some(Given::Failed(error)) => Piece::Failed(error.into()),
                Some(Given::Cancelled) => {
                    Piece::Failed(Failure::new(Kind::Internal, "the request was cancelled"))
                }
                None => Piece::Failed(registry::dead(&self.lease.name)),
            };
            self.over = true;
            if let Piece::Failed(failure) = &last {
                self.app.metrics.refused(failure.kind);
            }
            return Poll::Ready(Some(last));
        }
    }

    /// What was read of the answer's text.
    fn found(&mut self, found: Vec<Found>) {
        for found in found {
            self.ready.push_back(match found {
                Found::Text(text) => {
                    self.text.push_str(&text);
                    Piece::Text(text)
                }
                Found::Call(called) => {
                    let call = Call {
                        id: called.id.unwrap_or_else(calls::identity),
                        name: called.name,
                        arguments: called.arguments,
                    };
                    self.calls.push(call.clone());
                    Piece::Call(call)
                }
            });
        }
    }

    /// All of it at once.
    pub async fn whole(mut self) -> Result<Summary, Failure> {
        let mut logprobs = Vec::new();
        loop {
            match self.next().await {
                Some(Piece::Logprobs(more)) => logprobs.extend(more),
                Some(Piece::Done(summary)) => return Ok(Summary { logprobs, ..*summary }),
                Some(Piece::Failed(failure)) => return Err(failure),
                Some(Piece::Text(_) | Piece::Reasoning(_) | Piece::Call(_)) => {}
                None => return Err(Failure::new(Kind::Internal, "the answer ended without an end")),
            }
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.over {
            self.app.metrics.disconnected();
        }
    }
}
