//! What a plugin author writes a model with
