//! A loaded model: a thread that owns its scheduler and engine. Others talk to it by messages, and notice when it is gone.
//!
//! Requests are parsed, their pictures decoded and their prompts planned elsewhere (`chat::prepare`): this thread only computes. What it gives goes
//! to each request's channel; when a receiver is gone, the request ends with the next step, wherever it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use monocle_runtime::engines::EngineUnavailable;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::Model;
use monocle_runtime::recordings::Recordings;
use monocle_runtime::report::{HostReport, Report};
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::prepare::PreparedRequest;
use monocle_runtime::scheduler::terms::Terms;
use monocle_runtime::scheduler::{Event, Scheduler, SchedulerOptions, SessionId};
use monocle_tensor::backend::Backend;
use monocle_text::{Delta, TokenLogprobs};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

/// Makes an engine, on the thread that will own it.
pub type EngineMaker = Arc<dyn Fn() -> Result<Box<dyn Backend>, EngineUnavailable> + Send + Sync>;

/// What becomes of a request; the last of it is one of the last three.
#[derive(Debug)]
pub enum Given {
    /// What the model thought at the tokens of the text that comes next.
    Logprobs(Vec<TokenLogprobs>),
    /// More of the answer.
    Text(Delta),
    /// All of it.
    Done(Box<Report>),
    /// It was cancelled before anything was computed.
    Cancelled,
    /// It cannot be answered.
    Failed(RequestError),
}

/// See the module. Dropping it ends the thread when all that runs is done.
pub struct Engine {
    /// The model.
    pub model: Arc<Model>,
    /// The same with prompts as they stand, made when it is first needed.
    plain: OnceLock<Model>,
    /// What each token writes, likewise.
    token_bytes: OnceLock<Vec<Option<Vec<u8>>>>,
    /// What requests are prepared with.
    pub recordings: Recordings,
    /// What computes.
    pub host: HostReport,
    /// Bytes of the weights, as stored.
    pub weight_bytes: usize,
    /// What the engine may use where nobody says so; `None` where nobody knows.
    pub own_limit: Option<usize>,
    limit: Arc<AtomicUsize>,
    commands: mpsc::Sender<Command>,
    state: Arc<State>,
}

/// What the thread tells of itself.
#[derive(Default)]
struct State {
    has_ended: AtomicBool,
    /// It ended by a panic.
    is_dead: AtomicBool,
    ended: Notify,
    waiting: AtomicUsize,
    running: AtomicUsize,
}

/// Says that the thread is gone, however it went.
struct EndNotice(Arc<State>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.waiting.store(0, Ordering::Relaxed);
        self.0.running.store(0, Ordering::Relaxed);
        self.0.has_ended.store(true, Ordering::Release);
        self.0.ended.notify_waiters();
    }
}

/// Says that the thread panics before anything declared before it is dropped: who waits for an answer learns of its end by such a
/// drop, and finds the engine marked.
struct PanicNotice<'a>(&'a State);

impl Drop for PanicNotice<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_dead.store(true, Ordering::Release);
        }
    }
}

enum Command {
    Submit(Box<Submission>),
    Limit(usize),
}

struct Submission {
    prepared: PreparedRequest,
    options: GenerateOptions,
    terms: Terms,
    /// Whether it was taken in.
    taken: oneshot::Sender<Result<(), RequestError>>,
    to: UnboundedSender<Given>,
}

/// Why a request was not taken in.
#[derive(Debug)]
pub enum NotTaken {
    /// It cannot be answered.
    Refused(RequestError),
    /// The thread is gone.
    Dead,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineUnavailable),
    /// The weights do not fit, or cannot be read.
    #[error(transparent)]
    Weights(#[from] RequestError),
    /// The thread could not be started, or panicked.
    #[error("the engine stopped while it loaded the model; the program's own output says more")]
    Stopped,
}

/// What the thread tells once the weights are there.
struct Ready {
    recordings: Recordings,
    host: HostReport,
    weight_bytes: usize,
    own_limit: Option<usize>,
}

impl Engine {
    /// Loads a model on a thread of its own.
    pub async fn start(
        model: Model,
        maker: EngineMaker,
        options: SchedulerOptions,
    ) -> Result<Self, LoadError> {
        let model = Arc::new(model);
        let (commands, received) = mpsc::channel();
        let (tell, told) = oneshot::channel();
        let state = Arc::new(State::default());
        let limit = Arc::new(AtomicUsize::new(usize::MAX));
        let thread = Thread {
            model: Arc::clone(&model),
            state: Arc::clone(&state),
            received,
        };
        let notice = EndNotice(Arc::clone(&state));
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let _notice = notice;
                thread.run(&maker, options, tell);
            })
            .map_err(|_| LoadError::Stopped)?;
        let ready = told.await.map_err(|_| LoadError::Stopped)??;
        if let Some(bytes) = ready.own_limit {
            limit.store(bytes, Ordering::Relaxed);
        }
        Ok(Self {
            model,
            plain: OnceLock::new(),
            token_bytes: OnceLock::new(),
            recordings: ready.recordings,
            host: ready.host,
            weight_bytes: ready.weight_bytes,
            own_limit: ready.own_limit,
            limit,
            commands,
            state,
        })
    }

    /// The model with prompts as they stand.
    pub fn plain(&self) -> &Model {
        self.plain.get_or_init(|| self.model.without_template())
    }

    /// What a token writes: as text, and as bytes, which need not be UTF-8. Special tokens write their names.
    pub fn written(&self, token: u32) -> (String, Vec<u8>) {
        let tokenizer = self.model.tokenizer();
        let all = self.token_bytes.get_or_init(|| tokenizer.token_bytes());
        let bytes = match all.get(token as usize) {
            Some(Some(bytes)) => bytes.clone(),
            _ => tokenizer.token(token).unwrap_or_default().into_bytes(),
        };
        (String::from_utf8_lossy(&bytes).into_owned(), bytes)
    }

    /// Hands a request over; what becomes of it comes through the receiver, which ends without a last word if the engine does.
    pub async fn submit(
        &self,
        prepared: PreparedRequest,
        options: GenerateOptions,
        terms: Terms,
    ) -> Result<UnboundedReceiver<Given>, NotTaken> {
        let (taken, answer) = oneshot::channel();
        let (to, given) = unbounded_channel();
        let submission = Submission {
            prepared,
            options,
            terms,
            taken,
            to,
        };
        let sent = self.commands.send(Command::Submit(Box::new(submission)));
        sent.map_err(|_| NotTaken::Dead)?;
        match answer.await {
            Ok(Ok(())) => Ok(given),
            Ok(Err(error)) => Err(NotTaken::Refused(error)),
            Err(_) => Err(NotTaken::Dead),
        }
    }

    /// Changes how much memory it may use.
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
        // Where the thread is gone, nothing is used.
        let _ = self.commands.send(Command::Limit(bytes));
    }

    /// How much memory it may use.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether its thread panicked.
    pub fn is_dead(&self) -> bool {
        self.state.is_dead.load(Ordering::Acquire) || self.state.has_ended.load(Ordering::Acquire)
    }

    /// Requests that wait, and that run.
    pub fn counts(&self) -> [usize; 2] {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        [count(&self.state.waiting), count(&self.state.running)]
    }

    /// Gives the model up, and waits until its memory is free.
    pub async fn end(self: Arc<Self>) {
        let state = Arc::clone(&self.state);
        drop(self);
        let ended = state.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if !state.has_ended.load(Ordering::Acquire) {
            ended.await;
        }
    }
}

/// What the thread has.
struct Thread {
    model: Arc<Model>,
    state: Arc<State>,
    received: mpsc::Receiver<Command>,
}

impl Thread {
    fn run(
        self,
        maker: &EngineMaker,
        options: SchedulerOptions,
        tell: oneshot::Sender<Result<Ready, LoadError>>,
    ) {
        let loaded = maker().map_err(LoadError::from).and_then(|backend| {
            let mut scheduler = Scheduler::new(Arc::clone(&self.model), backend, options);
            scheduler.load_weights(&mut |_, _| {})?;
            Ok(scheduler)
        });
        let mut scheduler = match loaded {
            Ok(scheduler) => scheduler,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let ready = Ready {
            recordings: scheduler.recordings().clone(),
            host: scheduler.host_report(),
            weight_bytes: scheduler.weight_bytes(),
            own_limit: scheduler.memory_limit().map(|limit| limit.bytes),
        };
        if tell.send(Ok(ready)).is_err() {
            return;
        }
        let mut readers: Vec<(SessionId, UnboundedSender<Given>)> = Vec::new();
        let _notice = PanicNotice(&self.state);
        loop {
            if scheduler.is_idle() {
                // Nobody has the engine any more: the sender is dropped with it.
                let Ok(command) = self.received.recv() else { return };
                self.obey(&mut scheduler, &mut readers, command);
            }
            while let Ok(command) = self.received.try_recv() {
                self.obey(&mut scheduler, &mut readers, command);
            }
            for (id, _) in readers.iter().filter(|(_, to)| to.is_closed()) {
                scheduler.cancel(*id);
            }
            self.note(&scheduler);
            for (id, event) in scheduler.step() {
                let given = match event {
                    Event::Logprobs(logprobs) => Given::Logprobs(logprobs),
                    Event::Text(delta) => Given::Text(delta),
                    Event::Done(report) => Given::Done(report),
                    Event::Cancelled => Given::Cancelled,
                    Event::Failed(error) => Given::Failed(error),
                };
                let Some(place) = readers.iter().position(|(reader, _)| *reader == id) else {
                    continue;
                };
                let is_last = !matches!(given, Given::Text(_) | Given::Logprobs(_));
                // Whether anybody still reads is seen before the next step.
                let _ = readers[place].1.send(given);
                if is_last {
                    readers.swap_remove(place);
                }
            }
            self.note(&scheduler);
        }
    }

    fn note(&self, scheduler: &Scheduler) {
        let [waiting, running] = scheduler.counts();
        self.state.waiting.store(waiting, Ordering::Relaxed);
        self.state.running.store(running, Ordering::Relaxed);
    }

    fn obey(
        &self,
        scheduler: &mut Scheduler,
        readers: &mut Vec<(SessionId, UnboundedSender<Given>)>,
        command: Command,
    ) {
        match command {
            Command::Limit(bytes) => scheduler.set_memory_limit(bytes),
            Command::Submit(submission) => {
                let Submission {
                    prepared,
                    options,
                    terms,
                    taken,
                    to,
                } = *submission;
                let _notice = PanicNotice(&self.state);
                // Whoever asked is gone already.
                if taken.is_closed() {
                    return;
                }
                let submitted = scheduler.submit(prepared, options, terms);
                let answer = submitted.map(|id| readers.push((id, to)));
                let _ = taken.send(answer);
            }
        }
    }
}
