//! Between what the host calls and the author's types, in either carrier: each function is given the place where an instance keeps its value.
//! The export macros use it; authors do not.

use crate::{
    AnswerPart, Batch, Context, Error, Image, ModelFiles, Network, Pixels, Plan, Processor, Request, Size,
    Tensor,
};

/// A processor, and what it found out about the request's pictures.
pub struct Planned<P: Processor> {
    processor: P,
    pictures: Vec<P::Picture>,
}

/// `processor.configure`
pub fn configure<P: Processor>(
    slot: &mut Option<Planned<P>>,
    files: &ModelFiles,
) -> std::result::Result<(), String> {
    let processor = P::configure(files).map_err(words)?;
    *slot = Some(Planned {
        processor,
        pictures: vec![],
    });
    Ok(())
}

/// `processor.plan`
pub fn plan<P: Processor>(
    slot: &mut Option<Planned<P>>,
    request: &Request,
) -> std::result::Result<Plan, String> {
    let planned = ready(slot, CONFIGURE)?;
    let plan = |planned: &mut Planned<P>| {
        let sizes = request.pictures()?;
        let picture = |size: &Size| planned.processor.picture(size.checked()?);
        planned.pictures = sizes.iter().map(picture).collect::<crate::Result<_>>()?;
        planned.processor.plan(request, &planned.pictures)
    };
    plan(planned).map_err(words)
}

/// `processor.pixels`
pub fn pixels<P: Processor>(
    slot: &mut Option<Planned<P>>,
    index: u32,
    image: &Image,
) -> std::result::Result<Vec<Pixels>, String> {
    let planned = ready(slot, CONFIGURE)?;
    let picture = planned.pictures.get(index as usize);
    let picture = picture
        .context("pixels of a picture that was not planned")
        .map_err(words)?;
    planned.processor.pixels(picture, image).map_err(words)
}

/// `processor.output`
pub fn output<P: Processor>(slot: &mut Option<Planned<P>>, text: String, last: bool) -> String {
    match slot {
        Some(planned) => planned.processor.output(&text, last),
        None => text,
    }
}

/// `processor.parts`
pub fn parts<P: Processor>(slot: &mut Option<Planned<P>>, answer: &str) -> Vec<AnswerPart> {
    match slot {
        Some(planned) => planned.processor.parts(answer, &planned.pictures),
        None => vec![],
    }
}

/// `network.load`
pub fn load<N: Network>(slot: &mut Option<N>, files: &ModelFiles) -> std::result::Result<(), String> {
    *slot = Some(N::load(files).map_err(words)?);
    Ok(())
}

/// `network.encode`
pub fn encode<N: Network>(
    slot: &mut Option<N>,
    pixels: &[Tensor],
    layout: &[u32],
) -> std::result::Result<Vec<Tensor>, String> {
    if pixels.is_empty() {
        return Err("no pixels to encode".to_owned());
    }
    ready(slot, LOAD)?.encode(pixels, layout).map_err(words)
}

/// `network.encode-prompt`
pub fn encode_prompt<N: Network>(slot: &mut Option<N>, batch: &Batch) -> std::result::Result<Tensor, String> {
    ready(slot, LOAD)?.encode_prompt(batch).map_err(words)
}

/// `network.forward`
pub fn forward<N: Network>(slot: &mut Option<N>, batch: &Batch) -> std::result::Result<Tensor, String> {
    ready(slot, LOAD)?.forward(batch).map_err(words)
}

const CONFIGURE: &str = "processor.configure";
const LOAD: &str = "network.load";

fn words(error: Error) -> String {
    error.to_string()
}

/// The value that an earlier call left.
fn ready<'a, T>(slot: &'a mut Option<T>, before: &str) -> std::result::Result<&'a mut T, String> {
    slot.as_mut()
        .ok_or_else(|| format!("called before `{before}` succeeded"))
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
            $crate::__component! {
                $crate::__processor_entry!($processor);
                $crate::__section!($crate::__stamp!("adapter", [$($model_type),*], [$($filters)?], [$($parts)?]));
            }
            $crate::__library!($crate::native::Tables::<$processor, $crate::native::NoNetwork>::adapter(
                concat!("monocle:plugin:stamp:", $crate::__stamp!("adapter", [$($model_type),*], [$($filters)?], [$($parts)?]))
            ));
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
            $crate::__component! {
                $crate::__processor_entry!($processor);
                $crate::__network_entry!($network);
                $crate::__section!($crate::__stamp!("model", [$($model_type),*], [$($filters)?], [$($parts)?]));
            }
            $crate::__library!($crate::native::Tables::<$processor, $network>::model(
                concat!("monocle:plugin:stamp:", $crate::__stamp!("model", [$($model_type),*], [$($filters)?], [$($parts)?]))
            ));
        };
    };
}

/// What only components have.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($($items:item)*) => {
        $($items)*
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($($items:item)*) => {};
}

/// What only libraries have.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __library {
    ($table:expr) => {};
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __library {
    ($table:expr) => {
        // SAFETY: nothing else has this name: a crate holds one plugin, and no crate depends on it.
        #[unsafe(no_mangle)]
        pub extern "C" fn monocle_plugin_0_2() -> *const $crate::native::Plugin {
            static PLUGIN: $crate::native::Plugin = $table;
            &PLUGIN
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __processor_entry {
    ($processor:ty) => {
        struct ProcessorExport;
        impl $crate::component::ProcessorEntry for ProcessorExport {
            type Processor = $processor;
            fn cell()
            -> &'static ::std::thread::LocalKey<$crate::component::Cell<$crate::entry::Planned<$processor>>> {
                ::std::thread_local!(static CELL: $crate::component::Cell<$crate::entry::Planned<$processor>> = const {
                    ::std::cell::RefCell::new(None)
                });
                &CELL
            }
        }
        $crate::bindings::processor::export_processor!(ProcessorExport with_types_in $crate::bindings::processor);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __network_entry {
    ($network:ty) => {
        struct NetworkExport;
        impl $crate::component::NetworkEntry for NetworkExport {
            type Network = $network;
            fn cell() -> &'static ::std::thread::LocalKey<$crate::component::Cell<$network>> {
                ::std::thread_local!(static CELL: $crate::component::Cell<$network> = const {
                    ::std::cell::RefCell::new(None)
                });
                &CELL
            }
        }
        $crate::bindings::network::export_network!(NetworkExport with_types_in $crate::bindings::network);
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

/// What a plugin says of itself: hosts read it before any code is compiled or loaded.
#[doc(hidden)]
#[macro_export]
macro_rules! __stamp {
    ($kind:literal, [$($first:literal $(, $rest:literal)*)?], [$($filters:literal)?], [$($parts:literal)?]) => {
        concat!(
            "{\"name\":\"", env!("CARGO_PKG_NAME"),
            "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
            "\",\"contract\":\"0.2.0\",\"kind\":\"", $kind,
            "\",\"model-types\":[", $("\"", $first, "\"", $(",\"", $rest, "\"",)*)?
            "],\"filters-output\":", $crate::__flag!($($filters)?),
            ",\"answers-parts\":", $crate::__flag!($($parts)?), "}",
        )
    };
}

/// The stamp as a component's custom section.
#[doc(hidden)]
#[macro_export]
macro_rules! __section {
    ($stamp:expr) => {
        #[unsafe(link_section = "monocle:plugin")]
        #[used]
        static SECTION: [u8; $stamp.len()] = {
            let mut bytes = [0; $stamp.len()];
            bytes.copy_from_slice($stamp.as_bytes());
            bytes
        };
    };
}
