//! The engines that this build has, by name.

use monocle_cpu::{Activations, CpuBackend, Instructions};
use monocle_tensor::backend::Backend;
pub use monocle_tensor::backend::{KeyValueType, Precision};

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// This machine's processor.
    Cpu,
    /// Apple's MLX.
    Mlx,
}

/// How an engine is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineOptions {
    /// Threads of the `cpu` engine; by default one a core.
    pub threads: Option<usize>,
    /// What floats are in the engine `mlx`. The engine `cpu` computes in 32 bits, whatever is stored; but unless this says f32, it multiplies
    /// quantised weights with activations that are rounded to 16-bit integers, or to 8 bits where this says so. Where it says bf16, weights of
    /// bf16 are multiplied with activations that are rounded to bf16.
    pub precision: Precision,
    /// How the keys and values of sequences are stored; by default in f16 by the engine `cpu`, and by the engine `mlx` in what it computes in.
    pub key_values: Option<KeyValueType>,
    /// Of the `mlx` engine: whether operations element by element run as one where they can. By default they do on a graphics
    /// processor.
    pub fuses: Option<bool>,
}

/// Why there is no such engine.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineUnavailable {
    /// This build was made without it.
    #[error(
        "the engine `mlx` is not built into this program\n\nhint: it is part of every build on macOS; elsewhere use \
         `--engine cpu`"
    )]
    NotBuiltIn,
    /// The engine `cpu` has no such mode.
    #[error(
        "the engine `cpu` does not compute in f16\n\nhint: it has the modes auto, f32, bf16 and int8; leave out `--precision`, or use \
         `--engine mlx`"
    )]
    NotOnCpu,
    /// The engine `mlx` has no such mode.
    #[error(
        "the engine `mlx` multiplies with floats, not with 8-bit integers\n\nhint: it has the modes auto, f32, bf16 and f16; leave out \
         `--precision`, or use `--engine cpu`"
    )]
    NotOnMlx,
    /// The processor has no such instructions.
    #[error(
        "`MONOCLE_CPU` is `{wanted}`, which this processor or program does not have\n\nhint: expected one of {available}, or leave it out"
    )]
    Instructions {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The engine has no choice here.
    #[error(
        "the engine `mlx` stores keys and values in what it computes in, not in {}\n\nhint: leave out `--kv-type`, and let \
         `--precision` say what that is (f32, bf16, f16)",
        .0.name()
    )]
    KeyValues(KeyValueType),
}

impl EngineName {
    /// Those that are part of this program.
    pub fn built_in() -> &'static [Self] {
        match cfg!(any(target_os = "macos", feature = "mlx")) {
            true => &[Self::Cpu, Self::Mlx],
            false => &[Self::Cpu],
        }
    }

    /// What is used when nothing is said.
    pub fn default_here() -> Self {
        match cfg!(target_os = "macos") {
            true => Self::Mlx,
            false => Self::Cpu,
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Mlx => "mlx",
        }
    }

    /// The engine, ready to load weights.
    pub fn start(self, options: EngineOptions) -> Result<Box<dyn Backend>, EngineUnavailable> {
        monocle_image::use_threads(options.threads);
        match self {
            Self::Cpu => cpu(options),
            Self::Mlx => mlx(options),
        }
    }
}

/// Names the instruction set that the engine `cpu` uses, where it is not to be the best one.
pub const INSTRUCTIONS: &str = "MONOCLE_CPU";

fn cpu(options: EngineOptions) -> Result<Box<dyn Backend>, EngineUnavailable> {
    // What is rounded by default is not noticed: docs/performance.md.
    let activations = match options.precision {
        Precision::Stored => Activations::Integers,
        Precision::F32 => Activations::Floats,
        Precision::Bf16 => Activations::Bf16,
        Precision::Int8 => Activations::Bytes,
        Precision::F16 => return Err(EngineUnavailable::NotOnCpu),
    };
    let engine = match std::env::var(INSTRUCTIONS) {
        Err(_) => CpuBackend::new(options.threads),
        Ok(name) => {
            let available = Instructions::available();
            let wanted = available
                .iter()
                .find(|set| set.name().eq_ignore_ascii_case(&name));
            wanted
                .and_then(|set| CpuBackend::with_instructions(options.threads, *set))
                .ok_or_else(|| EngineUnavailable::Instructions {
                    wanted: name,
                    available: available
                        .iter()
                        .map(|set| set.name())
                        .collect::<Vec<_>>()
                        .join(", "),
                })?
        }
    };
    let key_values = options.key_values.unwrap_or(KeyValueType::F16);
    Ok(Box::new(engine.storing(key_values).multiplying(activations)))
}

#[cfg(any(target_os = "macos", feature = "mlx"))]
fn mlx(options: EngineOptions) -> Result<Box<dyn Backend>, EngineUnavailable> {
    match (options.key_values, options.precision) {
        (None, _)
        | (Some(KeyValueType::F32), Precision::F32)
        | (Some(KeyValueType::Bf16), Precision::Bf16)
        | (Some(KeyValueType::F16), Precision::F16) => {}
        (Some(kind), _) => return Err(EngineUnavailable::KeyValues(kind)),
    }
    if options.precision == Precision::Int8 {
        return Err(EngineUnavailable::NotOnMlx);
    }
    let engine = monocle_mlx::MlxBackend::new(options.precision);
    Ok(Box::new(match options.fuses {
        Some(fuses) => engine.fusing(fuses),
        None => engine,
    }))
}

#[cfg(not(any(target_os = "macos", feature = "mlx")))]
fn mlx(_: EngineOptions) -> Result<Box<dyn Backend>, EngineUnavailable> {
    Err(EngineUnavailable::NotBuiltIn)
}
