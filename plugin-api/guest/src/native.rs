//! The native carrier, from the plugin's side: calls of the host go through the tables that a call is given, and the library exports a table of its
//! own. Nothing that goes wrong leaves as a panic. The export macros use it; authors do not.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Once;

pub use monocle_plugin_abi::v0_2::Plugin;
use monocle_plugin_abi::{ABI, Keep, Lift, List, Lower, Status, Text, v0_2 as abi};

use crate::entry::{self, Planned};
use crate::{Batch, Error, Image, Network, Pixels, Processor, Result, Tensor};

/// Calls of the host.
pub(crate) mod host {
    use std::cell::Cell;
    use std::mem::MaybeUninit;
    use std::panic::resume_unwind;
    use std::ptr;

    use monocle_plugin_abi::{Keep, Lift, Status, Text, v0_2::Host};

    thread_local! {
        /// What the call in progress on this thread was given.
        static HOST: Cell<*const Host> = const { Cell::new(ptr::null()) };
    }

    /// The host has ended the call: carried by a panic that says nothing, up to where the host called.
    pub struct Ended;

    /// While it lives, a call is in progress on this thread.
    pub struct InCall(*const Host);

    impl InCall {
        /// # Safety
        /// `host` is null or what the host gave to a call, which goes on until the value is dropped.
        pub unsafe fn begin(host: *const Host) -> Self {
            Self(HOST.replace(host))
        }
    }

    impl Drop for InCall {
        fn drop(&mut self) {
            HOST.set(self.0);
        }
    }

    /// The host, if a call is in progress.
    pub fn current() -> Option<&'static Host> {
        // SAFETY: what was given lives while the call goes on, and nothing keeps it longer.
        unsafe { HOST.get().as_ref() }
    }

    fn table<Table>(table: impl FnOnce(&Host) -> *const Table) -> (&'static Table, &'static Host) {
        let host =
            current().expect("functions of the host can be called only while the host calls the plugin");
        // SAFETY: as above; it is null where this kind of plugin does not get the table.
        let table = unsafe { table(host).as_ref() };
        (
            table.expect("an adapter gets no tensors, weights and batches"),
            host,
        )
    }

    /// A function that gives nothing.
    pub fn call_for_nothing<Table: 'static>(
        of: impl FnOnce(&Host) -> *const Table,
        function: impl FnOnce(&Table, *const Host, &Keep) -> Status,
    ) {
        let (table, host) = table(of);
        go_on(function(table, host, &Keep::new()));
    }

    /// A function with a result.
    pub fn call<Table: 'static, T: Lift>(
        of: impl FnOnce(&Host) -> *const Table,
        function: impl FnOnce(&Table, *const Host, &Keep, *mut T::Abi) -> Status,
    ) -> T {
        let (table, host) = table(of);
        let mut result = MaybeUninit::<T::Abi>::zeroed();
        go_on(function(table, host, &Keep::new(), result.as_mut_ptr()));
        // SAFETY: the host says that it wrote its result, which lives during the call.
        sound(unsafe { T::lift(result.assume_init_ref()) })
    }

    /// A function that may fail with words.
    pub fn call_that_may_fail<Table: 'static, T: Lift>(
        of: impl FnOnce(&Host) -> *const Table,
        function: impl FnOnce(&Table, *const Host, &Keep, *mut T::Abi, *mut Text) -> Status,
    ) -> Result<T, String> {
        let (table, host) = table(of);
        let (mut result, mut words) = (MaybeUninit::<T::Abi>::zeroed(), Text::EMPTY);
        let status = function(table, host, &Keep::new(), result.as_mut_ptr(), &mut words);
        if status == Status::REFUSED {
            // SAFETY: the host says that it wrote its words, which live during the call.
            return Err(sound(unsafe { String::lift(&words) }));
        }
        go_on(status);
        // SAFETY: as above, of its result.
        Ok(sound(unsafe { T::lift(result.assume_init_ref()) }))
    }

    /// Drops a handle. Outside of calls, an instance ends, and all that it holds with it.
    pub fn drop<Table: 'static>(
        of: impl FnOnce(&Host) -> *const Table,
        function: impl FnOnce(&Table) -> unsafe extern "C" fn(*const Host, u32) -> Status,
        handle: u32,
    ) {
        let Some(host) = current() else { return };
        // SAFETY: as above.
        if let Some(table) = unsafe { of(host).as_ref() } {
            // SAFETY: the table is the host's, for this call. If the call has ended, so have its handles.
            let _ = unsafe { function(table)(host, handle) };
        }
    }

    /// Leaves the plugin where the host has ended the call.
    fn go_on(status: Status) {
        if status != Status::OK {
            resume_unwind(Box::new(Ended));
        }
    }

    fn sound<T>(lifted: Result<T, monocle_plugin_abi::Malformed>) -> T {
        lifted.unwrap_or_else(|malformed| {
            panic!("the host gave what the contract does not know: {}", malformed.0)
        })
    }
}

/// A request's values: what components keep in variables of their own.
struct Instance<P: Processor, N> {
    processor: Option<Planned<P>>,
    network: Option<N>,
    /// What the last results point to.
    kept: Keep,
}

/// The tables of a plugin of these types.
pub struct Tables<P, N>(PhantomData<(P, N)>);

/// In an adapter's place of a network.
pub enum NoNetwork {}

impl Network for NoNetwork {
    fn load(_files: &crate::ModelFiles) -> Result<Self> {
        Err(Error::new("an adapter has no forward pass"))
    }

    fn encode(&self, _pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        match *self {}
    }
}

impl<P: Processor + 'static> Tables<P, NoNetwork> {
    /// What an adapter exports.
    pub const fn adapter(stamp: &'static str) -> Plugin {
        Self::plugin(stamp, ptr::null())
    }
}

impl<P: Processor + 'static, N: Network + 'static> Tables<P, N> {
    const PROCESSOR: &'static abi::ProcessorTable = &abi::ProcessorTable {
        size: size_of::<abi::ProcessorTable>(),
        configure: Self::configure,
        plan: Self::plan,
        pixels: Self::pixels,
        output: Self::output,
        parts: Self::parts,
    };
    const NETWORK: &'static abi::NetworkTable = &abi::NetworkTable {
        size: size_of::<abi::NetworkTable>(),
        load: Self::load,
        encode: Self::encode,
        encode_prompt: Self::encode_prompt,
        forward: Self::forward,
    };

    /// What a model exports.
    pub const fn model(stamp: &'static str) -> Plugin {
        Self::plugin(stamp, Self::NETWORK)
    }

    const fn plugin(stamp: &'static str, network: *const abi::NetworkTable) -> Plugin {
        Plugin {
            size: size_of::<Plugin>(),
            abi: ABI,
            stamp: Text::of(stamp),
            create: Self::create,
            destroy: Self::destroy,
            processor: Self::PROCESSOR,
            network,
        }
    }

    unsafe extern "C" fn create() -> *mut abi::Instance {
        // Where panics abort, one would end the host.
        if cfg!(panic = "abort") {
            return ptr::null_mut();
        }
        let instance = Instance::<P, N> {
            processor: None,
            network: None,
            kept: Keep::new(),
        };
        Box::into_raw(Box::new(instance)).cast()
    }

    unsafe extern "C" fn destroy(instance: *mut abi::Instance) {
        // SAFETY: it is what `create` gave, and the host does not use it any more. No host can be called: handles end with the instance.
        let dropped = catch_unwind(|| unsafe {
            let _none = host::InCall::begin(ptr::null());
            drop(Box::from_raw(instance.cast::<Instance<P, N>>()));
        });
        // A panic while values are dropped harms nobody.
        drop(dropped);
    }

    unsafe extern "C" fn configure(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        files: *const abi::ModelFiles,
        words: *mut Text,
    ) -> Status {
        // SAFETY: here and below, the host's promise, as `monocle_plugin.h` has it.
        unsafe {
            Self::called(instance, host, &mut (), words, |this| {
                entry::configure(&mut this.processor, &lifted(&*files))
            })
        }
    }

    unsafe extern "C" fn plan(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        request: *const abi::Request,
        result: *mut abi::Plan,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, words, |this| {
                entry::plan(&mut this.processor, &lifted(&*request))
            })
        }
    }

    unsafe extern "C" fn pixels(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        index: u32,
        image: u32,
        result: *mut List<u32>,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, words, |this| {
                // The host's own: not dropped here.
                let image = std::mem::ManuallyDrop::new(Image::from_handle(image));
                let pixels = entry::pixels(&mut this.processor, index, &image)?;
                Ok(pixels.into_iter().map(Pixels::into_handle).collect::<Vec<u32>>())
            })
        }
    }

    unsafe extern "C" fn output(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        text: Text,
        last: u8,
        result: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, &mut Text::EMPTY.clone(), |this| {
                Ok(entry::output(&mut this.processor, lifted(&text), last != 0))
            })
        }
    }

    unsafe extern "C" fn parts(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        answer: Text,
        result: *mut List<abi::AnswerPart>,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, &mut Text::EMPTY.clone(), |this| {
                Ok(entry::parts(&mut this.processor, &lifted::<String>(&answer)))
            })
        }
    }

    unsafe extern "C" fn load(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        files: *const abi::ModelFiles,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, &mut (), words, |this| {
                entry::load(&mut this.network, &lifted(&*files))
            })
        }
    }

    unsafe extern "C" fn encode(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        pixels: List<u32>,
        layout: List<u32>,
        result: *mut List<u32>,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, words, |this| {
                let pixels: Vec<Tensor> = lifted(&pixels);
                let sets = entry::encode(&mut this.network, &pixels, &lifted::<Vec<u32>>(&layout))?;
                Ok(sets.into_iter().map(Tensor::into_handle).collect::<Vec<u32>>())
            })
        }
    }

    unsafe extern "C" fn encode_prompt(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        batch: u32,
        result: *mut u32,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, words, |this| {
                let batch = Batch::from_handle(batch);
                entry::encode_prompt(&mut this.network, &batch).map(Tensor::into_handle)
            })
        }
    }

    unsafe extern "C" fn forward(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        batch: u32,
        result: *mut u32,
        words: *mut Text,
    ) -> Status {
        // SAFETY: as above.
        unsafe {
            Self::called(instance, host, result, words, |this| {
                let batch = Batch::from_handle(batch);
                entry::forward(&mut this.network, &batch).map(Tensor::into_handle)
            })
        }
    }

    /// A call of the host: its answer is kept and shown, or how it failed.
    ///
    /// # Safety
    /// `instance` is what `create` gave, nobody else uses it, `host` is this call's, and `result` and `words` can be written to.
    unsafe fn called<T: Lower + 'static>(
        instance: *mut abi::Instance,
        host: *const abi::Host,
        result: *mut T::Abi,
        words: *mut Text,
        answer: impl FnOnce(&mut Instance<P, N>) -> std::result::Result<T, String>,
    ) -> Status {
        // SAFETY: the caller's promise.
        let (instance, _in_call) = unsafe {
            let instance = &mut *instance.cast::<Instance<P, N>>();
            (instance, host::InCall::begin(host))
        };
        report_panics();
        instance.kept.clear();
        let answer = catch_unwind(AssertUnwindSafe(|| answer(instance)));
        // SAFETY: the caller's promise.
        unsafe {
            match answer {
                Ok(Ok(value)) => {
                    result.write(instance.kept.lowered(value));
                    Status::OK
                }
                Ok(Err(reason)) => {
                    words.write(instance.kept.lowered(reason));
                    Status::REFUSED
                }
                Err(panic) => how_it_ended(panic),
            }
        }
    }
}

fn how_it_ended(panic: Box<dyn Any + Send>) -> Status {
    match panic.is::<host::Ended>() {
        true => Status::ENDED,
        false => Status::BROKEN,
    }
}

/// What the host hands over.
///
/// # Safety
/// As [`Lift::lift`].
unsafe fn lifted<T: Lift>(abi: &T::Abi) -> T {
    // SAFETY: the caller's promise.
    let lifted = unsafe { T::lift(abi) };
    lifted
        .unwrap_or_else(|malformed| panic!("the host gave what the contract does not know: {}", malformed.0))
}

/// In calls of the host, the message of a panic reaches its log before the call ends.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match host::current() {
            Some(host) => {
                let text = info.to_string();
                let text = text.as_str().lower(&Keep::new());
                // SAFETY: a call is in progress, and the table is the host's. Nothing can be done if it does not listen.
                let _ = unsafe {
                    ((*host.log).write)(host, crate::bindings::imports::log::Level::Warn as u32, text)
                };
            }
            None => before(info),
        }));
    });
}
