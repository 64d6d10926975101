//! Tokenizers, chat templates, sampling and the output filter
