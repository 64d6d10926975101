//! Loading a plugin's component: checked, compiled (or taken from the cache), linked to what its kind may have.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use monocle_text::shown;
use wasmtime::component::{Component as Compiled, InstancePre, Linker, Resource};
use wasmtime::{Config, Engine, Store, Trap};

use super::compiled::{self, Examined};
use super::host_side::HostSide;
use super::version::{self, Calls, Exports};
use crate::plugin::bounds;
use crate::plugin::carrier::{Answer, Carrier, NotStarted, Running};
use crate::plugin::contract::{AnswerPart, ModelFiles, Plan, PlanRequest};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::stamp::Stamp;
use crate::plugin::state::State;

/// How often the clock of call deadlines ticks.
const TICK: Duration = Duration::from_millis(10);
/// Bytes that a plugin may hand over in one call, its own answers included: constants, texts, plans.
const HANDED_OVER: usize = 16 << 20;

/// A component, ready to be instantiated.
pub struct Component {
    instance: InstancePre<HostSide>,
    exports: Box<dyn Exports>,
}

impl Component {
    /// Compiles a component of this stamp, or takes its code from the cache, and links it to what its kind may have.
    pub fn load(path: &Path, wasm: &[u8], stamp: &Stamp) -> Result<Self, PluginError> {
        let unusable = |reason: String| PluginError::NotAPlugin {
            path: path.to_owned(),
            // Names in it are the file's.
            reason: shown::message(&reason),
        };
        let Some(version) = version::of(stamp) else {
            return Err(PluginError::incompatible(stamp, version::served()));
        };
        bounds::check(wasm).map_err(unusable)?;
        let engine = engine();
        let component = compile(engine, wasm, &stamp.name)
            .map_err(|error| unusable(format!("it does not compile: {error:#}")))?;
        let mut linker = Linker::new(engine);
        let instance = version
            .link(&mut linker, stamp.kind)
            .and_then(|()| linker.instantiate_pre(&component))
            .map_err(|error| {
                unusable(format!(
                    "it asks for what {} plugins do not get: {error:#}",
                    stamp.kind
                ))
            })?;
        let exports = version
            .exports(&instance, stamp.kind)
            .map_err(|error| unusable(format!("it does not give what the contract asks: {error:#}")))?;
        Ok(Self { instance, exports })
    }
}

impl Carrier for Component {
    fn start(&self, state: State) -> Result<Box<dyn Running>, NotStarted> {
        let engine = self.instance.component().engine();
        let mut store = Store::new(engine, HostSide::new(state));
        store.limiter(|side| &mut side.memory);
        store.set_hostcall_fuel(HANDED_OVER);
        let left = store.data_mut().begin_call();
        store.set_epoch_deadline(ticks(left));
        let started = self.instance.instantiate(&mut store);
        match started.and_then(|instance| self.exports.load(&mut store, &instance)) {
            Ok(calls) => Ok(Box::new(RunningComponent { store, calls })),
            Err(error) => Err(not_started(&mut store, &error)),
        }
    }
}

/// Why an instance did not start: a limit is named as in calls.
fn not_started(store: &mut Store<HostSide>, error: &wasmtime::Error) -> NotStarted {
    let refused = store.data_mut().memory.take_refused();
    match (refused, error.downcast_ref::<Trap>()) {
        (Some((limit, wanted)), _) => NotStarted::Fault(Fault::Memory {
            wanted_mib: wanted.div_ceil(1 << 20),
            limit_mib: limit >> 20,
        }),
        (None, Some(Trap::Interrupt)) => NotStarted::Fault(store.data().over()),
        _ => NotStarted::Unusable(format!("{error:#}")),
    }
}

/// A component's instance.
struct RunningComponent {
    store: Store<HostSide>,
    calls: Box<dyn Calls>,
}

impl RunningComponent {
    /// What a call came to: a trap is the fault that lies behind it.
    fn answer<T>(&mut self, answer: version::Answer<T>) -> Answer<T> {
        answer.map_err(|error| self.fault(error))
    }

    fn fault(&mut self, error: wasmtime::Error) -> Fault {
        let error = match error.downcast::<Fault>() {
            Ok(fault) => return fault,
            Err(error) => error,
        };
        let side = self.store.data_mut();
        if let Some((limit, wanted)) = side.memory.take_refused() {
            return Fault::Memory {
                wanted_mib: wanted >> 20,
                limit_mib: limit >> 20,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => side.over(),
            Some(trap) => Fault::Trap {
                reason: trap.to_string(),
                last_words: side.last_words(),
            },
            // The component model's own checks: a dropped handle, a string that is not UTF-8.
            None => Fault::Misuse(format!("{:#}", error.root_cause())),
        }
    }
}

fn handles<T: 'static>(resources: Vec<Resource<T>>) -> Vec<u32> {
    resources.iter().map(Resource::rep).collect()
}

impl Running for RunningComponent {
    fn state(&self) -> &State {
        self.store.data()
    }

    fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    fn begin_call(&mut self) {
        let left = self.store.data_mut().begin_call();
        self.store.set_epoch_deadline(ticks(left));
    }

    fn configure(&mut self, files: &ModelFiles) -> Answer<()> {
        let answer = self.calls.configure(&mut self.store, files);
        self.answer(answer)
    }

    fn plan(&mut self, request: &PlanRequest) -> Answer<Plan> {
        let answer = self.calls.plan(&mut self.store, request);
        self.answer(answer)
    }

    fn pixels(&mut self, index: u32, image: u32) -> Answer<Vec<u32>> {
        let answer = self
            .calls
            .pixels(&mut self.store, index, Resource::new_own(image));
        Ok(self.answer(answer)?.map(handles))
    }

    fn output(&mut self, text: &str, last: bool) -> Result<String, Fault> {
        let answer = self.calls.output(&mut self.store, text, last);
        answer.map_err(|error| self.fault(error))
    }

    fn parts(&mut self, answer: &str) -> Result<Vec<AnswerPart>, Fault> {
        let parts = self.calls.parts(&mut self.store, answer);
        parts.map_err(|error| self.fault(error))
    }

    fn load(&mut self, files: &ModelFiles) -> Answer<()> {
        let answer = self.calls.load(&mut self.store, files);
        self.answer(answer)
    }

    fn encode(&mut self, pixels: &[u32], layout: &[u32]) -> Answer<Vec<u32>> {
        let pixels: Vec<_> = pixels.iter().map(|&handle| Resource::new_own(handle)).collect();
        let answer = self.calls.encode(&mut self.store, &pixels, layout);
        Ok(self.answer(answer)?.map(handles))
    }

    fn encode_prompt(&mut self) -> Answer<u32> {
        let answer = self.calls.encode_prompt(&mut self.store);
        Ok(self.answer(answer)?.map(|tensor| tensor.rep()))
    }

    fn forward(&mut self) -> Answer<u32> {
        let answer = self.calls.forward(&mut self.store);
        Ok(self.answer(answer)?.map(|tensor| tensor.rep()))
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()).max(1) as u64
}

/// Who is told before something large is compiled.
static TOLD: OnceLock<fn(&str, usize)> = OnceLock::new();
/// Components of so many bytes take seconds: those of JavaScript's and Python's tools.
const TAKES_SECONDS: usize = 2 << 20;

/// Has somebody told of each plugin that is about to be compiled and is so large that it takes seconds: its name, and its bytes. The first who
/// asks is told.
pub fn tell_of_compiling(told: fn(&str, usize)) {
    let _ = TOLD.set(told);
}

/// What came of compiling in another process.
#[derive(Debug)]
pub enum Elsewhere {
    /// The code, as [`compile_here`] makes it.
    Code(Vec<u8>),
    /// It cannot be compiled, or not within its bounds.
    Refused(String),
    /// There is no other process here.
    Nowhere,
}

/// Compiles a component of a plugin's bytes, within so much time.
pub type Compiler = fn(&[u8], Duration) -> Elsewhere;

/// Who compiles in another process, and how long it may take there, in milliseconds.
static ELSEWHERE: OnceLock<Compiler> = OnceLock::new();
static MAY_TAKE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Has plugins compiled in another process of this very program, whose time and memory are bounded: a compiler cannot be interrupted. The first
/// who asks is asked.
pub fn compile_elsewhere(compiler: Compiler) {
    let _ = ELSEWHERE.set(compiler);
}

/// From now on compiling elsewhere may take so long.
pub fn may_take(time: Duration) {
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    MAY_TAKE.store(time, Ordering::Relaxed);
}

/// Compiles a plugin's bytes in this process, however long that takes.
pub fn compile_here(wasm: &[u8]) -> Result<Vec<u8>, String> {
    bounds::check(wasm)?;
    let code = engine().precompile_component(wasm);
    code.map_err(|error| format!("{error:#}"))
}

fn code_of(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let time = Duration::from_millis(MAY_TAKE.load(Ordering::Relaxed));
    match ELSEWHERE.get().map(|compiler| compiler(wasm, time)) {
        Some(Elsewhere::Code(code)) => Ok(code),
        Some(Elsewhere::Refused(reason)) => Err(wasmtime::Error::msg(reason)),
        Some(Elsewhere::Nowhere) | None => engine.precompile_component(wasm),
    }
}

/// Compiled code from the store, or made now and put there.
fn compile(engine: &Engine, wasm: &[u8], name: &str) -> wasmtime::Result<Compiled> {
    let tell = || match TOLD.get() {
        Some(told) if wasm.len() >= TAKES_SECONDS => told(name, wasm.len()),
        _ => {}
    };
    let store = store().as_ref().ok();
    if let Some(component) = store.and_then(|store| store.load(engine, wasm)) {
        return Ok(component);
    }
    tell();
    let code = code_of(engine, wasm)?;
    if let Some(store) = store {
        store.keep(engine, wasm, &code);
    }
    // SAFETY: the compiler made these bytes just now, for this engine: in this process, or in one that runs this very program and handed
    // them over through a pipe that nobody else has.
    unsafe { Compiled::deserialize(engine, &code) }
}

fn store() -> &'static Result<compiled::Store, String> {
    static STORE: OnceLock<Result<compiled::Store, String>> = OnceLock::new();
    STORE.get_or_init(|| match cache_folder() {
        Some(folder) => compiled::Store::open(&folder),
        None => Err("no folder for caches is known: neither MONOCLE_CACHE nor HOME is set".to_owned()),
    })
}

/// Why compiled plugins are not kept between runs, where they are not.
pub fn not_kept() -> Option<String> {
    let reason = store().as_ref().err()?;
    Some(format!("plugins are compiled each time: {reason}"))
}

/// Where compiled plugins are kept, if they are.
pub fn kept_folder() -> Option<PathBuf> {
    let store = store().as_ref().ok()?;
    Some(store.folder().to_owned())
}

/// Looks at the compiled plugins that are kept: the folder and what lies in it; or why none are.
pub fn examine_kept() -> Result<(PathBuf, Examined), String> {
    let store = store().as_ref().map_err(String::clone)?;
    Ok((store.folder().to_owned(), store.examine(engine())))
}

/// One engine for the process: its clock thread ticks for all instances.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(1 << 20);
        // Nothing that makes plugins has more than one memory in a module.
        config.wasm_multi_memory(false);
        let engine = Engine::new(&config).expect("the configuration is fixed and valid");
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .expect("a thread can be started");
        engine
    })
}

/// Where compiled plugins are kept: `MONOCLE_CACHE`, else the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("MONOCLE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("monocle")))
        .or_else(|| {
            let home = set("HOME")?;
            let cache = if cfg!(target_os = "macos") {
                home.join("Library/Caches")
            } else {
                home.join(".cache")
            };
            Some(cache.join("monocle"))
        })?;
    std::path::absolute(base.join("compiled")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_memories(count: usize) -> Vec<u8> {
        let text = format!("(component (core module {}))", "(memory 1)".repeat(count));
        wat::parse_str(text).expect("the text is well-formed")
    }

    #[test]
    fn a_module_has_one_memory() {
        assert!(compile_here(&with_memories(1)).is_ok());
        let reason = compile_here(&with_memories(2)).expect_err("it has two");
        assert!(reason.contains("multiple memories"), "{reason}");
    }
}
