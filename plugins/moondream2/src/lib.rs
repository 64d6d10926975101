//! Moondream 2 as published in June 2025 (`moondream/torch` in github.com/vikhyat/moondream): a vision transformer sees an overview and overlapping
//! crops, whose features are joined to 27 by 27; a decoder of parallel layers sees them both ways. Its functions are asked for by words: see
//! `tasks`. Places are tokens of our own here, after the vocabulary's last: the original decodes and encodes them beside it; see `rows`.

mod config;
mod crops;
mod decoder;
mod model;
mod places;
mod processor;
mod region;
mod rows;
mod tasks;
mod tower;

monocle_plugin::export_model!(
    processor::MoondreamProcessor,
    model::Moondream,
    model_types: ["moondream1", "moondream2"],
    answers_parts: true
);
