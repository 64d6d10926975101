//! The program as its users meet it, what they can get wrong, and the guide for plugin authors followed to the letter.

mod addresses;
mod authors;
mod bad_input;
mod bench;
mod cache;
mod chat;
mod command_line;
#[cfg(target_os = "linux")]
mod faults;
mod full_size;
mod generation;
// Memory and processes are looked at as Linux shows them.
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(unix)]
mod installed;
mod native;
mod notes;
mod pictures;
mod plugin_guide;
mod prompts;
mod reload;
mod sharing;
mod traces;
