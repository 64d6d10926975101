//! Builds the plugins, runs the demo and the tests
fn main() {}
