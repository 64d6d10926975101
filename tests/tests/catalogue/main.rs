//! `monocle catalogue` on drawn pictures, with the demo model: what is written, what is left alone, and what a crash leaves.

mod folders;
mod kills;
mod readers;
mod sidecars;
