//! Between the exports of a component and [`crate::entry`]: an instance of a component serves one request, and keeps its values in variables of its
//! own. The export macros use it; authors do not.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::thread::LocalKey;

use crate::bindings::{network, processor};
use crate::entry::{self, Planned};
use crate::{AnswerPart, Batch, Image, ModelFiles, Network, Pixels, Plan, Processor, Request, Tensor, log};

/// Where an instance keeps its request's value.
pub type Cell<T> = RefCell<Option<T>>;

/// The type that the macros export: names the author's processor and the place where it lives.
pub trait ProcessorEntry {
    /// The author's type.
    type Processor: Processor + 'static;
    /// Where it lives.
    fn cell() -> &'static LocalKey<Cell<Planned<Self::Processor>>>;
}

/// As [`ProcessorEntry`], for the network.
pub trait NetworkEntry {
    /// The author's type.
    type Network: Network + 'static;
    /// Where it lives.
    fn cell() -> &'static LocalKey<Cell<Self::Network>>;
}

impl<E: ProcessorEntry> processor::exports::monocle::plugin::processor::Guest for E {
    fn configure(files: ModelFiles) -> Result<(), String> {
        report_panics();
        E::cell().with_borrow_mut(|slot| entry::configure(slot, &files))
    }

    fn plan(request: Request) -> Result<Plan, String> {
        E::cell().with_borrow_mut(|slot| entry::plan(slot, &request))
    }

    fn pixels(index: u32, image: &Image) -> Result<Vec<Pixels>, String> {
        E::cell().with_borrow_mut(|slot| entry::pixels(slot, index, image))
    }

    fn output(text: String, last: bool) -> String {
        E::cell().with_borrow_mut(|slot| entry::output(slot, text, last))
    }

    fn parts(answer: String) -> Vec<AnswerPart> {
        E::cell().with_borrow_mut(|slot| entry::parts(slot, &answer))
    }
}

impl<E: NetworkEntry> network::exports::monocle::plugin::network::Guest for E {
    fn load(files: ModelFiles) -> Result<(), String> {
        report_panics();
        E::cell().with_borrow_mut(|slot| entry::load(slot, &files))
    }

    fn encode(pixels: Vec<Tensor>, layout: Vec<u32>) -> Result<Vec<Tensor>, String> {
        E::cell().with_borrow_mut(|slot| entry::encode(slot, &pixels, &layout))
    }

    fn encode_prompt(batch: &Batch) -> Result<Tensor, String> {
        E::cell().with_borrow_mut(|slot| entry::encode_prompt(slot, batch))
    }

    fn forward(batch: &Batch) -> Result<Tensor, String> {
        E::cell().with_borrow_mut(|slot| entry::forward(slot, batch))
    }
}

/// A panic ends the instance with a bare trap; its message reaches the host before.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| log::warn(&info.to_string())));
    });
}
