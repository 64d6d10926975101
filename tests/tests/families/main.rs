//! The families of models beyond parity: what went wrong with each elsewhere, awkward pictures, converted checkpoints.

mod awkward_pixels;
mod contract_page;
mod deepseek_kimi;
mod fixtures;
mod gemma_mistral_phi_mllama;
mod llava_internvl_lfm2;
mod mlx_conversions;
mod models_page;
mod picture_sizes;
mod qwen_vl;
mod resaved;
mod smolvlm_idefics3;
mod turn_ends;
