//! Loaded models: loaded when they are asked for, together under one limit on memory, the one that was used longest ago out first.
//!
//! Each has a thread of its own, so one that loads does not stop the others' tokens. The limit is shared: each may use its weights, and an equal
//! part of what all weights leave. Nothing here uses the network.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use monocle_runtime::model::stamp::Stamp;
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::scheduler::SchedulerOptions;
use monocle_weights::gguf::{files_of, is_gguf};
use tokio::sync::Notify;

use super::catalogue::{Catalogue, Listed};
use super::keep::KeepAlive;
use crate::engine::{Engine, EngineMaker};
use crate::failure::{Failure, Kind};

/// How long a request waits until another model is idle, so that this one can be loaded.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes beside its weights that a model must have to be of use.
const WORKING_ROOM: usize = 64 << 20;

/// See the module.
pub struct Registry {
    /// What may be asked for.
    pub catalogue: Catalogue,
    maker: EngineMaker,
    scheduler: SchedulerOptions,
    keep: KeepAlive,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// A model became idle, or is gone.
    changed: Notify,
    /// One model makes room at a time.
    making_room: tokio::sync::Mutex<()>,
}

/// One model's place.
pub struct Slot {
    /// Held while it is loaded, so that it is loaded once.
    loading: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    engine: Option<Arc<Engine>>,
    stamp: Stamp,
    /// Files that could not be used; the model from before is.
    bad: Option<(Stamp, String)>,
    requests: usize,
    last_used: Option<Instant>,
    keep: Option<KeepAlive>,
}

/// A loaded model in use. It stays loaded as long as this is there.
pub struct Lease {
    /// Its engine.
    pub engine: Arc<Engine>,
    /// Its name.
    pub name: String,
    /// What the client should know: that a newer state of the files cannot be used, for instance.
    pub note: Option<String>,
    slot: Arc<Slot>,
    registry: Arc<Registry>,
    keep: Option<KeepAlive>,
}

/// A model that is loaded, for lists.
pub struct LoadedModel {
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: Arc<Engine>,
    /// When it goes, if nobody asks.
    pub until: Option<Duration>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Nothing is loaded yet.
    pub fn new(
        catalogue: Catalogue,
        maker: EngineMaker,
        scheduler: SchedulerOptions,
        keep: KeepAlive,
    ) -> Arc<Self> {
        Arc::new(Self {
            catalogue,
            maker,
            scheduler,
            keep,
            slots: Mutex::default(),
            changed: Notify::new(),
            making_room: tokio::sync::Mutex::default(),
        })
    }

    /// The model of a name, loaded if it is not yet.
    pub async fn lease(self: &Arc<Self>, asked: &str, keep: Option<KeepAlive>) -> Result<Lease, Failure> {
        let this = Arc::clone(self);
        let name = asked.to_owned();
        // Files are read: not on a thread that others' answers pass through.
        let found = blocking(move || {
            let listed = this.catalogue.find(&name)?;
            let stamp = this.catalogue.stamp(&listed);
            Some((listed, stamp))
        })
        .await?;
        let Some((listed, stamp)) = found else {
            return Err(self.unknown(asked));
        };
        let slot = Arc::clone(locked(&self.slots).entry(listed.name.clone()).or_insert_with(|| {
            Arc::new(Slot {
                loading: tokio::sync::Mutex::default(),
                state: Mutex::default(),
            })
        }));
        let loading = slot.loading.lock().await;
        let mut note = listed.note.clone();
        let known = {
            let state = locked(&slot.state);
            let bad = state.bad.as_ref().filter(|(bad, _)| *bad == stamp);
            if let Some((_, why)) = bad {
                note = Some(why.clone());
            }
            let usable = state.stamp == stamp || bad.is_some();
            state.engine.clone().filter(|_| usable)
        };
        let engine = match known {
            Some(engine) => engine,
            None => match self.load(&listed, &slot).await {
                Ok(engine) => {
                    let engine = Arc::new(engine);
                    let mut state = locked(&slot.state);
                    state.engine = Some(Arc::clone(&engine));
                    state.stamp = stamp;
                    state.bad = None;
                    engine
                }
                Err(failure) => {
                    let mut state = locked(&slot.state);
                    let Some(engine) = state.engine.clone().filter(|_| failure.kind != Kind::Busy) else {
                        return Err(failure);
                    };
                    let why =
                        format!("changed files of the model cannot be used, so it is as before: {failure}");
                    state.bad = Some((stamp, why.clone()));
                    note = Some(why);
                    engine
                }
            },
        };
        if engine.is_dead() {
            return Err(dead(&listed.name));
        }
        locked(&slot.state).requests += 1;
        drop(loading);
        self.share();
        Ok(Lease {
            engine,
            name: listed.name,
            note,
            slot,
            registry: Arc::clone(self),
            keep,
        })
    }

    fn unknown(&self, asked: &str) -> Failure {
        let names: Vec<String> = self
            .catalogue
            .list()
            .into_iter()
            .map(|model| model.name)
            .collect();
        let there = match names.is_empty() {
            true => "there is none".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        };
        let message = format!(
            "no model `{asked}`; {there}. Models are not fetched by requests: `monocle pull` does that"
        );
        Failure::new(Kind::NotFound, message)
            .at("model")
            .code("model_not_found")
    }

    async fn load(self: &Arc<Self>, listed: &Listed, slot: &Arc<Slot>) -> Result<Engine, Failure> {
        if listed.folder.is_none() {
            let message = format!(
                "the files of the model `{0}` are not on this machine, and requests do not fetch them; `monocle pull {0}` does",
                listed.name
            );
            return Err(Failure::new(Kind::NotFound, message)
                .at("model")
                .code("model_not_found"));
        }
        let (this, declaration) = (Arc::clone(self), listed.declaration.clone());
        let opened = blocking(move || {
            let places = &this.catalogue.places;
            Model::open(places, &declaration, OpenOptions::default(), &mut |_| {})
        })
        .await?;
        let cannot = |why: String| {
            let message = format!("the model `{}` cannot be loaded: {why}", listed.name);
            Failure::new(Kind::Internal, message)
        };
        let model = opened.map_err(|error| cannot(error.to_string()))?;
        // A template that cannot be used does not take the place of one that can.
        let before = locked(&slot.state).engine.clone();
        if let Some(before) = before
            && before.model.check_template().is_ok()
        {
            model
                .check_template()
                .map_err(|error| cannot(error.to_string()))?;
        }
        let bytes = listed.folder.as_deref().map_or(0, weight_files);
        let room = self.making_room.lock().await;
        self.make_room(&listed.name, bytes, slot).await?;
        let engine = Engine::start(model, Arc::clone(&self.maker), self.scheduler).await;
        drop(room);
        engine.map_err(|error| cannot(error.to_string()))
    }

    /// Waits until so many bytes of weights fit beside those of the models that are in use; idle ones go, the one that was used longest ago first.
    async fn make_room(&self, name: &str, bytes: usize, own: &Arc<Slot>) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let others: Vec<Arc<Slot>> = locked(&self.slots)
                .values()
                .filter(|slot| !Arc::ptr_eq(slot, own))
                .cloned()
                .collect();
            let mut loaded = Vec::new();
            for slot in others {
                let state = locked(&slot.state);
                if let Some(engine) = state.engine.clone() {
                    loaded.push((state.last_used, state.requests, Arc::clone(&slot), engine));
                }
            }
            let Some(limit) = self.limit(loaded.iter().map(|(.., engine)| engine.as_ref())) else {
                return Ok(());
            };
            let held: usize = loaded
                .iter()
                .map(|(.., engine)| engine.weight_bytes + WORKING_ROOM)
                .sum();
            if loaded.is_empty() || held.saturating_add(bytes + WORKING_ROOM) <= limit {
                return Ok(());
            }
            loaded.sort_by_key(|(last_used, ..)| *last_used);
            let names: Vec<String> = loaded
                .iter()
                .map(|(.., engine)| engine.model.report.name.clone())
                .collect();
            let idle = loaded.into_iter().find(|(_, requests, ..)| *requests == 0);
            if let Some((_, _, slot, engine)) = idle {
                locked(&slot.state).engine = None;
                engine.end().await;
                continue;
            }
            let left = LOAD_PATIENCE.saturating_sub(started.elapsed());
            if tokio::time::timeout(left, changed).await.is_err() {
                let message = format!(
                    "there is no memory to load `{name}` now: {} answer others' requests",
                    names.join(", ")
                );
                return Err(Failure::new(Kind::Busy, message));
            }
        }
    }

    /// What all models together may use.
    fn limit<'a>(&self, mut engines: impl Iterator<Item = &'a Engine>) -> Option<usize> {
        self.scheduler
            .memory_limit
            .or_else(|| engines.find_map(|engine| engine.own_limit))
    }

    /// Gives each model its part of the limit.
    fn share(&self) {
        let slots: Vec<Arc<Slot>> = locked(&self.slots).values().cloned().collect();
        let engines: Vec<Arc<Engine>> = slots
            .iter()
            .filter_map(|slot| locked(&slot.state).engine.clone())
            .collect();
        let Some(limit) = self.limit(engines.iter().map(Arc::as_ref)) else {
            return;
        };
        let weights: usize = engines.iter().map(|engine| engine.weight_bytes).sum();
        let part = limit.saturating_sub(weights) / engines.len().max(1);
        for engine in engines {
            let bytes = engine.weight_bytes.saturating_add(part);
            if engine.limit() != bytes {
                engine.set_limit(bytes);
            }
        }
    }

    /// Frees what idle models hold, but for this one: a request needs it.
    pub async fn free_others(&self, name: &str) {
        let slots: Vec<Arc<Slot>> = {
            let slots = locked(&self.slots);
            let others = slots.iter().filter(|(other, _)| *other != name);
            others.map(|(_, slot)| Arc::clone(slot)).collect()
        };
        for slot in slots {
            end_idle(&slot).await;
        }
        self.share();
    }

    /// Ends models whose time is over; called now and then.
    pub async fn expire(&self) {
        let slots: Vec<Arc<Slot>> = locked(&self.slots).values().cloned().collect();
        for slot in slots {
            let over = {
                let state = locked(&slot.state);
                self.left(&state).is_some_and(|left| left.is_zero())
            };
            if over {
                end_idle(&slot).await;
                self.share();
            }
        }
    }

    /// How long a model stays if nobody asks; `None`: always.
    fn left(&self, state: &SlotState) -> Option<Duration> {
        let KeepAlive::For(time) = state.keep.unwrap_or(self.keep) else {
            return None;
        };
        match (state.requests, state.last_used) {
            (0, Some(last_used)) => Some(time.saturating_sub(last_used.elapsed())),
            _ => Some(time),
        }
    }

    /// The models that are loaded.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let slots: Vec<(String, Arc<Slot>)> = {
            let slots = locked(&self.slots);
            slots
                .iter()
                .map(|(name, slot)| (name.clone(), Arc::clone(slot)))
                .collect()
        };
        let mut loaded = Vec::new();
        for (name, slot) in slots {
            let state = locked(&slot.state);
            if let Some(engine) = state.engine.clone() {
                let until = self.left(&state);
                loaded.push(LoadedModel { name, engine, until });
            }
        }
        loaded.sort_by(|a, b| a.name.cmp(&b.name));
        loaded
    }

    /// A model whose engine is gone, if there is one.
    pub fn dead(&self) -> Option<String> {
        let loaded = self.loaded().into_iter();
        loaded
            .filter(|model| model.engine.is_dead())
            .map(|model| model.name)
            .next()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = locked(&self.slot.state);
        state.requests -= 1;
        state.last_used = Some(Instant::now());
        if self.keep.is_some() {
            state.keep = self.keep;
        }
        drop(state);
        self.registry.changed.notify_waiters();
    }
}

/// The failure of a model whose engine is gone.
pub fn dead(name: &str) -> Failure {
    let message = format!("the engine of the model `{name}` stopped; the server must be started again");
    Failure::new(Kind::Dead, message)
}

/// Ends a model that answers nobody.
async fn end_idle(slot: &Arc<Slot>) {
    let engine = {
        let mut state = locked(&slot.state);
        match state.requests {
            0 => state.engine.take(),
            _ => None,
        }
    };
    if let Some(engine) = engine {
        engine.end().await;
    }
}

/// Bytes of the weights' files, wherever a model lies.
fn weight_files(place: &Path) -> usize {
    let weights = match is_gguf(place) {
        true => files_of(place),
        false => {
            let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
            let paths = entries.map(|entry| entry.path());
            paths
                .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
                .collect()
        }
    };
    let bytes: u64 = weights
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|file| file.len())
        .sum();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Does what takes a while on a thread for that.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let failed = |_| {
        Failure::new(
            Kind::Internal,
            "a part of the server failed; its own output says more",
        )
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
