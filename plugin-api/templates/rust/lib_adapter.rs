//! Each picture is squeezed into one square: the model sees less, and answers sooner.

mod processor;

monocle_plugin::export_adapter!(processor::OneSquare, model_types: []);
