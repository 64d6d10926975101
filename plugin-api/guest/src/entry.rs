//! Between the generated exports and the author's types. The export macros use it; authors do not.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::thread::LocalKey;

use crate::bindings::{network, processor};
use crate::{
    AnswerPart, Batch, Context, Error, Image, ModelFiles, Network, Pixels, Plan, Processor, Request, Size,
    Tensor, log,
};

/// Where an instance keeps its request's value.
pub type Cell<T> = RefCell<Option<T>>;

/// A processor, and what it found out about the request's pictures.
pub struct Planned<P: Processor> {
    processor: P,
    pictures: Vec<P::Picture>,
}

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
        let processor = E::Processor::configure(&files).map_err(words)?;
        E::cell().set(Some(Planned {
            processor,
            pictures: vec![],
        }));
        Ok(())
    }

    fn plan(request: Request) -> Result<Plan, String> {
        let call = |planned: &mut Planned<E::Processor>| {
            let sizes = request.pictures()?;
            let picture = |size: &Size| planned.processor.picture(size.checked()?);
            planned.pictures = sizes.iter().map(picture).collect::<crate::Result<_>>()?;
            planned.processor.plan(&request, &planned.pictures)
        };
        with(E::cell(), "processor.configure", call)?.map_err(words)
    }

    fn pixels(index: u32, image: &Image) -> Result<Vec<Pixels>, String> {
        let call = |planned: &mut Planned<E::Processor>| {
            let picture = planned.pictures.get(index as usize);
            let picture = picture.context("pixels of a picture that was not planned")?;
            planned.processor.pixels(picture, image)
        };
        with(E::cell(), "processor.configure", call)?.map_err(words)
    }

    fn output(text: String, last: bool) -> String {
        let call = |planned: &mut Planned<E::Processor>| planned.processor.output(&text, last);
        with(E::cell(), "processor.configure", call).unwrap_or(text)
    }

    fn parts(answer: String) -> Vec<AnswerPart> {
        let call = |planned: &mut Planned<E::Processor>| planned.processor.parts(&answer, &planned.pictures);
        with(E::cell(), "processor.configure", call).unwrap_or_default()
    }
}

impl<E: NetworkEntry> network::exports::monocle::plugin::network::Guest for E {
    fn load(files: ModelFiles) -> Result<(), String> {
        report_panics();
        let value = E::Network::load(&files).map_err(words)?;
        E::cell().set(Some(value));
        Ok(())
    }

    fn encode(pixels: Vec<Tensor>, layout: Vec<u32>) -> Result<Vec<Tensor>, String> {
        if pixels.is_empty() {
            return Err("no pixels to encode".to_owned());
        }
        with(E::cell(), "network.load", |network| {
            network.encode(&pixels, &layout)
        })?
        .map_err(words)
    }

    fn encode_prompt(batch: &Batch) -> Result<Tensor, String> {
        with(E::cell(), "network.load", |network| network.encode_prompt(batch))?.map_err(words)
    }

    fn forward(batch: &Batch) -> Result<Tensor, String> {
        with(E::cell(), "network.load", |network| network.forward(batch))?.map_err(words)
    }
}

fn words(error: Error) -> String {
    error.to_string()
}

fn with<T, R>(
    cell: &'static LocalKey<Cell<T>>,
    before: &str,
    call: impl FnOnce(&mut T) -> R,
) -> Result<R, String> {
    cell.with_borrow_mut(|value| match value {
        Some(value) => Ok(call(value)),
        None => Err(format!("called before `{before}` succeeded")),
    })
}

/// A panic ends the instance with a bare trap; its message reaches the host before.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| log::warn(&info.to_string())));
    });
}

/// Exports a [`Processor`] as an adapter plugin: `export_adapter!(Type, model_types: ["llava"])`, then, if the plugin
/// implements [`Processor::output`], `, filters_output: true`, and if it implements [`Processor::parts`], `, answers_parts: true`.
///
/// The model types are those of `config.json` that the plugin serves when no manifest names one. Name and version of the
/// plugin are the crate's.
#[macro_export]
macro_rules! export_adapter {
    (
        $processor:ty, model_types: [$($model_type:literal),* $(,)?]
        $(, filters_output: $filters:literal)? $(, answers_parts: $parts:literal)? $(,)?
    ) => {
        const _: () = {
            $crate::__processor_entry!($processor);
            $crate::__section!("adapter", [$($model_type),*], [$($filters)?], [$($parts)?]);
        };
    };
}

/// Exports a [`Processor`] and a [`Network`] as a model plugin:
/// `export_model!(MyProcessor, MyNetwork, model_types: ["llava"])`, with the options of [`export_adapter!`].
#[macro_export]
macro_rules! export_model {
    (
        $processor:ty, $network:ty, model_types: [$($model_type:literal),* $(,)?]
        $(, filters_output: $filters:literal)? $(, answers_parts: $parts:literal)? $(,)?
    ) => {
        const _: () = {
            $crate::__processor_entry!($processor);
            $crate::__network_entry!($network);
            $crate::__section!("model", [$($model_type),*], [$($filters)?], [$($parts)?]);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __processor_entry {
    ($processor:ty) => {
        struct ProcessorExport;
        impl $crate::entry::ProcessorEntry for ProcessorExport {
            type Processor = $processor;
            fn cell() -> &'static ::std::thread::LocalKey<$crate::entry::Cell<$crate::entry::Planned<$processor>>> {
                ::std::thread_local!(static CELL: $crate::entry::Cell<$crate::entry::Planned<$processor>> = const {
                    ::std::cell::RefCell::new(None)
                });
                &CELL
            }
        }
        // On other targets the crate is only tested; two plugins in one program must not export the same symbols.
        #[cfg(target_family = "wasm")]
        $crate::bindings::processor::export_processor!(ProcessorExport with_types_in $crate::bindings::processor);
        #[cfg(not(target_family = "wasm"))]
        const _: ProcessorExport = ProcessorExport;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __network_entry {
    ($network:ty) => {
        struct NetworkExport;
        impl $crate::entry::NetworkEntry for NetworkExport {
            type Network = $network;
            fn cell() -> &'static ::std::thread::LocalKey<$crate::entry::Cell<$network>> {
                ::std::thread_local!(static CELL: $crate::entry::Cell<$network> = const {
                    ::std::cell::RefCell::new(None)
                });
                &CELL
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::network::export_network!(NetworkExport with_types_in $crate::bindings::network);
        #[cfg(not(target_family = "wasm"))]
        const _: NetworkExport = NetworkExport;
    };
}

/// A flag that may be left out.
#[doc(hidden)]
#[macro_export]
macro_rules! __flag {
    () => {
        false
    };
    ($flag:literal) => {
        $flag
    };
}

/// The custom section that hosts read before any code is compiled.
#[doc(hidden)]
#[macro_export]
macro_rules! __section {
    ($kind:literal, [$($first:literal $(, $rest:literal)*)?], [$($filters:literal)?], [$($parts:literal)?]) => {
        const TEXT: &str = concat!(
            "{\"name\":\"", env!("CARGO_PKG_NAME"),
            "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
            "\",\"contract\":\"0.2.0\",\"kind\":\"", $kind,
            "\",\"model-types\":[", $("\"", $first, "\"", $(",\"", $rest, "\"",)*)?
            "],\"filters-output\":", $crate::__flag!($($filters)?),
            ",\"answers-parts\":", $crate::__flag!($($parts)?), "}",
        );
        #[cfg_attr(target_family = "wasm", unsafe(link_section = "monocle:plugin"))]
        #[used]
        static SECTION: [u8; TEXT.len()] = {
            let mut bytes = [0; TEXT.len()];
            bytes.copy_from_slice(TEXT.as_bytes());
            bytes
        };
    };
}
