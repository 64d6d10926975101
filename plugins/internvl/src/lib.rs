//! InternVL 2.5, 3 and 3.5 (arXiv:2412.05271, arXiv:2504.10479), in the original layout of checkpoints (`internvl_chat`; `modeling_internvl_chat.py` in
//! their repositories) and that of transformers (`internvl`; `modeling_internvl.py`): a picture is cut into square tiles and an overview; InternViT
//! sees each, pixel shuffle packs its patches into fewer features, and a Qwen decoder reads them.

mod config;
mod model;
mod processor;
mod vision;

monocle_plugin::export_model!(
    processor::InternVlProcessor,
    model::InternVl,
    model_types: ["internvl", "internvl_chat"]
);
