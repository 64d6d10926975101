//! The TOML manifest that declares a model
