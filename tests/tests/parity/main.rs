//! Every architecture against its reference implementation: one module a family.

mod deepseek_vl2;
mod ernie4_5_vl;
mod florence2;
mod frozen;
mod gemma3;
mod gemma3n;
mod internvl;
mod kimi_vl;
mod lfm2_vl;
mod llava;
#[cfg(any(target_os = "macos", feature = "mlx"))]
mod low_precision;
mod mistral3;
mod mllama;
mod molmo;
mod moondream2;
mod nanollava;
mod paddleocr_vl;
mod paligemma;
mod phi3_v;
mod qwen_vl;
mod smolvlm;
mod tied_experts;
