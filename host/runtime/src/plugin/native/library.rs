//! A library that was loaded, and its instances.

use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;

use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};
use monocle_plugin_abi::{ABI, Keep, Lift, Lower, Status, Text, v0_2 as abi};

use super::edge::Call;
use super::host_side::HostSide;
use super::v0_2::{bindings, convert};
use super::{CONTRACT, serves};
use crate::plugin::carrier::{Answer, Carrier, NO_NETWORK, NotStarted, Running};
use crate::plugin::contract::{AnswerPart, ModelFiles, Plan, PlanRequest};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::stamp::{PluginKind, Stamp};
use crate::plugin::state::State;

/// The one function that libraries export.
const ENTRY: &[u8] = b"monocle_plugin_0_2\0";

/// The tables of a library.
#[derive(Clone, Copy)]
pub struct Library {
    plugin: &'static abi::Plugin,
    processor: &'static abi::ProcessorTable,
    /// Absent in an adapter.
    network: Option<&'static abi::NetworkTable>,
}

impl Library {
    /// Loads a library that the user trusts, from the copy that was made when they said so.
    pub fn load(path: &Path, copy: &Path, stamp: &Stamp) -> Result<Self, PluginError> {
        let unusable = |reason: String| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        };
        if !serves(&stamp.contract) {
            return Err(PluginError::incompatible(
                stamp,
                format!("{CONTRACT} of native libraries"),
            ));
        }
        // SAFETY: this runs code of the library: the user has said that they trust it, and `copy` is what they trusted.
        let handle = unsafe { Handle::open(Some(copy), RTLD_NOW | RTLD_LOCAL) };
        let handle = handle.map_err(|error| unusable(format!("it cannot be loaded: {error}")))?;
        // SAFETY: the header says what this function is.
        let entry = unsafe { handle.get::<unsafe extern "C" fn() -> *const abi::Plugin>(ENTRY) };
        let entry = entry.map_err(|error| unusable(format!("it does not export its entry: {error}")))?;
        // SAFETY: as the header says, it can be called at any time, and what it gives is constant.
        let plugin = unsafe { entry().as_ref() };
        let tables = plugin.ok_or("its entry gives nothing".to_owned());
        let tables = tables
            .and_then(|plugin| Self::check(plugin, stamp))
            .map_err(unusable);
        // Never unloaded: threads and variables of it may be left.
        std::mem::forget(handle);
        tables
    }

    /// Whether the tables are what this host knows, and the library is what its stamp says.
    fn check(plugin: &'static abi::Plugin, stamp: &Stamp) -> Result<Self, String> {
        if plugin.abi != ABI {
            return Err(format!(
                "it was built for version {} of the native carrier, this host has {ABI}",
                plugin.abi
            ));
        }
        let large = |what: &str, found: usize, expected: usize| match found >= expected {
            true => Ok(()),
            false => Err(format!(
                "its table of the {what} has {found} bytes, expected {expected}"
            )),
        };
        large("plugin", plugin.size, size_of::<abi::Plugin>())?;
        // SAFETY: as the header says, it is null or a table that is always there.
        let (processor, network) = unsafe { (plugin.processor.as_ref(), plugin.network.as_ref()) };
        let processor = processor.ok_or("it gives no processor")?;
        large("processor", processor.size, size_of::<abi::ProcessorTable>())?;
        if let Some(network) = network {
            large("network", network.size, size_of::<abi::NetworkTable>())?;
        }
        match (stamp.kind, network) {
            (PluginKind::Model, None) => {
                return Err("it calls itself a model, and gives no network".to_owned());
            }
            (PluginKind::Adapter, Some(_)) => {
                return Err("it calls itself an adapter, and gives a network".to_owned());
            }
            _ => {}
        }
        // SAFETY: as the header says, it is a text that is always there.
        let said = unsafe { String::lift(&plugin.stamp) }
            .map_err(|malformed| format!("its stamp is malformed: {}", malformed.0))?;
        if Stamp::of_text(&said).as_ref() != Ok(stamp) {
            return Err("the stamp that it gives is not the one in its file".to_owned());
        }
        Ok(Self {
            plugin,
            processor,
            network,
        })
    }
}

impl Carrier for Library {
    fn start(&self, state: State) -> Result<Box<dyn Running>, NotStarted> {
        // SAFETY: as the header says, it can be called at any time.
        let instance = unsafe { (self.plugin.create)() };
        if instance.is_null() {
            return Err(NotStarted::Unusable(
                "it makes no instance; one in Rust makes none where its profile says `panic = \"abort\"`"
                    .to_owned(),
            ));
        }
        Ok(Box::new(RunningLibrary {
            library: *self,
            instance,
            side: HostSide::new(state),
        }))
    }
}

/// A library's instance.
struct RunningLibrary {
    library: Library,
    instance: *mut abi::Instance,
    side: HostSide,
}

// SAFETY: as the header says, an instance may be used from any thread, by one at a time.
unsafe impl Send for RunningLibrary {}

impl Drop for RunningLibrary {
    fn drop(&mut self) {
        // SAFETY: it was created by this library, and is not used any more.
        unsafe { (self.library.plugin.destroy)(self.instance) }
    }
}

impl RunningLibrary {
    /// Calls a function of the library, and takes its answer.
    fn call<T: Lift>(
        &mut self,
        function: impl FnOnce(&Library, *mut abi::Instance, *const abi::Host, *mut T::Abi, *mut Text) -> Status,
    ) -> Answer<T> {
        let mut call = Call::new(&mut self.side);
        let is_model = self.library.network.is_some();
        let host = abi::Host {
            size: size_of::<abi::Host>(),
            abi: ABI,
            context: (&raw mut call).cast(),
            log: &bindings::log::TABLE,
            tokenizers: &bindings::tokenizers::TABLE,
            prompts: &bindings::prompts::TABLE,
            images: &bindings::images::TABLE,
            tensors: given(is_model, &bindings::tensors::TABLE),
            weights: given(is_model, &bindings::weights::TABLE),
            batches: given(is_model, &bindings::batches::TABLE),
        };
        let mut result = MaybeUninit::<T::Abi>::zeroed();
        let mut words = Text::EMPTY;
        let status = function(
            &self.library,
            self.instance,
            &host,
            result.as_mut_ptr(),
            &mut words,
        );
        if let Some(fault) = call.ended() {
            return Err(fault);
        }
        // What comes too late is no answer: a component would have been stopped.
        match self.side.in_time() {
            Err(Fault::Timeout(milliseconds)) => {
                return Err(Fault::Misuse(format!(
                    "it came back when its {milliseconds} ms were over\n\nhint: a manifest can raise `limits.call_timeout_ms`"
                )));
            }
            in_time => in_time?,
        }
        match status {
            // SAFETY: the library says that it wrote its result, which lives until the next call.
            Status::OK => unsafe { T::lift(result.assume_init_ref()) }
                .map(Ok)
                .map_err(returned),
            // SAFETY: as above, of its words.
            Status::REFUSED => unsafe { String::lift(&words) }.map(Err).map_err(returned),
            Status::BROKEN => Err(Fault::Trap {
                reason: "it cannot go on because of a mistake in it".to_owned(),
                last_words: self.side.last_words(),
            }),
            Status::ENDED => Err(Fault::Misuse(
                "it says that the host ended the call, which it did not".to_owned(),
            )),
            Status(other) => Err(Fault::Misuse(format!(
                "it returned the status {other}, which is none"
            ))),
        }
    }

    /// As [`RunningLibrary::call`], of a function of its network.
    fn call_network<T: Lift>(
        &mut self,
        function: impl FnOnce(
            &abi::NetworkTable,
            *mut abi::Instance,
            *const abi::Host,
            *mut T::Abi,
            *mut Text,
        ) -> Status,
    ) -> Answer<T> {
        match self.library.network {
            Some(network) => {
                self.call(|_, instance, host, result, words| function(network, instance, host, result, words))
            }
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }
}

fn given<T>(is_given: bool, table: &'static T) -> *const T {
    match is_given {
        true => table,
        false => ptr::null(),
    }
}

fn returned(malformed: monocle_plugin_abi::Malformed) -> Fault {
    Fault::Misuse(format!("what it returned is no answer: {}", malformed.0))
}

impl Running for RunningLibrary {
    fn state(&self) -> &State {
        &self.side
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.side
    }

    fn begin_call(&mut self) {
        self.side.begin_call();
    }

    fn configure(&mut self, files: &ModelFiles) -> Answer<()> {
        let (keep, files) = (Keep::new(), convert::files_to_plugin(files));
        let files = files.lower(&keep);
        // SAFETY: here and below, the table is the library's, and what it is given lives until it returns.
        self.call(|library, instance, host, _, words| unsafe {
            (library.processor.configure)(instance, host, &files, words)
        })
    }

    fn plan(&mut self, request: &PlanRequest) -> Answer<Plan> {
        let (keep, request) = (Keep::new(), convert::request_to_plugin(request));
        let request = request.lower(&keep);
        // SAFETY: as above.
        let plan = self.call(|library, instance, host, result, words| unsafe {
            (library.processor.plan)(instance, host, &request, result, words)
        });
        Ok(plan?.map(convert::plan_from_plugin))
    }

    fn pixels(&mut self, index: u32, image: u32) -> Answer<Vec<u32>> {
        // SAFETY: as above.
        self.call(|library, instance, host, result, words| unsafe {
            (library.processor.pixels)(instance, host, index, image, result, words)
        })
    }

    fn output(&mut self, text: &str, last: bool) -> Result<String, Fault> {
        let text = text.lower(&Keep::new());
        // SAFETY: as above.
        let answer = self.call(|library, instance, host, result, _| unsafe {
            (library.processor.output)(instance, host, text, u8::from(last), result)
        });
        without_words(answer?)
    }

    fn parts(&mut self, answer: &str) -> Result<Vec<AnswerPart>, Fault> {
        let text = answer.lower(&Keep::new());
        // SAFETY: as above.
        let parts: Answer<Vec<bindings::types::AnswerPart>> =
            self.call(|library, instance, host, result, _| unsafe {
                (library.processor.parts)(instance, host, text, result)
            });
        Ok(without_words(parts?)?
            .into_iter()
            .map(convert::part_from_plugin)
            .collect())
    }

    fn load(&mut self, files: &ModelFiles) -> Answer<()> {
        let (keep, files) = (Keep::new(), convert::files_to_plugin(files));
        let files = files.lower(&keep);
        // SAFETY: as above.
        self.call_network(|network, instance, host, _, words| unsafe {
            (network.load)(instance, host, &files, words)
        })
    }

    fn encode(&mut self, pixels: &[u32], layout: &[u32]) -> Answer<Vec<u32>> {
        let keep = Keep::new();
        let (pixels, layout) = (pixels.lower(&keep), layout.lower(&keep));
        // SAFETY: as above.
        self.call_network(|network, instance, host, result, words| unsafe {
            (network.encode)(instance, host, pixels, layout, result, words)
        })
    }

    fn encode_prompt(&mut self) -> Answer<u32> {
        // SAFETY: as above. There is one batch in a call: its handle is any number.
        self.call_network(|network, instance, host, result, words| unsafe {
            (network.encode_prompt)(instance, host, 0, result, words)
        })
    }

    fn forward(&mut self) -> Answer<u32> {
        // SAFETY: as above.
        self.call_network(|network, instance, host, result, words| unsafe {
            (network.forward)(instance, host, 0, result, words)
        })
    }
}

/// An answer of a function that cannot fail with words.
fn without_words<T>(answer: Result<T, String>) -> Result<T, Fault> {
    answer.map_err(|_| Fault::Misuse("it refused what cannot be refused".to_owned()))
}
