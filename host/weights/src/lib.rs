//! Finding, fetching and mapping the files of a model
