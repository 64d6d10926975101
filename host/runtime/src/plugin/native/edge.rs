//! Where a library calls the host: nothing that goes wrong behind it leaves as a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, Status, Text, v0_2 as abi};

use super::host_side::HostSide;
use crate::plugin::error::Fault;

/// One call of a library, as the library's calls of the host find it.
pub struct Call<'a> {
    side: &'a mut HostSide,
    /// What results point to.
    kept: Keep,
    ended: Option<Ended>,
}

/// Why a call is over before the library returns.
enum Ended {
    Fault(Fault),
    /// The host's own.
    Panic(Box<dyn Any + Send>),
}

impl<'a> Call<'a> {
    /// A call that begins.
    pub fn new(side: &'a mut HostSide) -> Self {
        Self {
            side,
            kept: Keep::new(),
            ended: None,
        }
    }

    /// Why it was over before the library returned, if it was. A panic of the host goes on.
    pub fn ended(self) -> Option<Fault> {
        match self.ended? {
            Ended::Fault(fault) => Some(fault),
            Ended::Panic(panic) => resume_unwind(panic),
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Misuse(format!("it called the host wrongly: {}", malformed.0))
    }
}

/// A value that a library handed over.
///
/// # Safety
/// As [`Lift::lift`].
pub unsafe fn lift<T: Lift>(abi: &T::Abi) -> Result<T, Malformed> {
    // SAFETY: the caller's promise.
    unsafe { T::lift(abi) }
}

/// A value that a library handed over by its address.
///
/// # Safety
/// As [`Lift::lift`]; the address is null or that of a value.
pub unsafe fn lift_at<T: Lift>(abi: *const T::Abi) -> Result<T, Malformed> {
    match abi.is_null() {
        true => Err(Malformed("a structure is nowhere")),
        // SAFETY: the caller's promise.
        false => unsafe { T::lift(&*abi) },
    }
}

/// A function that gives nothing.
///
/// # Safety
/// `host` is what a call in progress was given, on its thread.
pub unsafe fn nothing(
    host: *const abi::Host,
    function: impl FnOnce(&mut HostSide) -> Result<(), Fault>,
) -> Status {
    // SAFETY: the caller's promise.
    match unsafe { enter(host, function) } {
        Some(_) => Status::OK,
        None => Status::ENDED,
    }
}

/// A function with a result.
///
/// # Safety
/// As [`nothing`]; a result can be written to `result`.
pub unsafe fn result<T: Lower + 'static>(
    host: *const abi::Host,
    result: *mut T::Abi,
    function: impl FnOnce(&mut HostSide) -> Result<T, Fault>,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        match enter(host, function) {
            Some((value, kept)) => {
                result.write(kept.lowered(value));
                Status::OK
            }
            None => Status::ENDED,
        }
    }
}

/// A function that may fail with words.
///
/// # Safety
/// As [`result`], for `words` too.
pub unsafe fn result_or_words<T: Lower + 'static>(
    host: *const abi::Host,
    result: *mut T::Abi,
    words: *mut Text,
    function: impl FnOnce(&mut HostSide) -> Result<Result<T, String>, Fault>,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        match enter(host, function) {
            Some((Ok(value), kept)) => {
                result.write(kept.lowered(value));
                Status::OK
            }
            Some((Err(reason), kept)) => {
                words.write(kept.lowered(reason));
                Status::REFUSED
            }
            None => Status::ENDED,
        }
    }
}

/// Does what is asked, unless the call is over; nothing where it is over then.
///
/// # Safety
/// As [`nothing`].
unsafe fn enter<'a, T>(
    host: *const abi::Host,
    function: impl FnOnce(&mut HostSide) -> Result<T, Fault>,
) -> Option<(T, &'a Keep)> {
    // SAFETY: `context` is the `Call` of the call in progress, which lives until the library returns, and nobody else uses it meanwhile: the
    // library calls the host from one thread, and the host calls nothing of the library from within.
    let call = unsafe { &mut *(*host).context.cast::<Call<'a>>() };
    if call.ended.is_some() {
        return None;
    }
    let ended = match catch_unwind(AssertUnwindSafe(|| function(call.side))) {
        Ok(Ok(value)) => return Some((value, &call.kept)),
        Ok(Err(fault)) => Ended::Fault(fault),
        Err(panic) => Ended::Panic(panic),
    };
    call.ended = Some(ended);
    None
}
