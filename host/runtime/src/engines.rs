//! The engines that this build has, by name.

use monocle_cpu::CpuBackend;
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
    /// Of the `mlx` engine; the other one computes in 32 bits, whatever is stored.
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
    /// The engine has one precision only.
    #[error("the engine `cpu` computes in 32 bits\n\nhint: leave out `--precision`, or use `--engine mlx`")]
    Precision,
    /// The engine has no choice here.
    #[error(
        "the engine `mlx` stores keys and values in what it computes in, not in {}\n\nhint: leave out `--kv-type`, and let \
         `--precision` say what that is (f32, bf16, f16)",
        .0.name()
    )]
    KeyValues(KeyValueType),
}

impl EngineName {
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
        match self {
            Self::Cpu => match options.precision {
                Precision::Stored | Precision::F32 => {
                    // f16 by default: what it loses is not noticed (docs/performance.md).
                    let key_values = options.key_values.unwrap_or(KeyValueType::F16);
                    Ok(Box::new(CpuBackend::new(options.threads).storing(key_values)))
                }
                Precision::Bf16 | Precision::F16 => Err(EngineUnavailable::Precision),
            },
            Self::Mlx => mlx(options),
        }
    }
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
