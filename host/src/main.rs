//! Runs vision-language models: images and text in, text out
fn main() {}
