//! `monocle-paired`: compares the speed of two commands, run in turns.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use monocle_paired::command::{CommandLine, Running};
use monocle_paired::comparison::{Settings, compare};
use monocle_paired::measure::Measure;
use monocle_paired::probe::{Pages, Source};
use monocle_paired::report::Report;
use monocle_paired::statistics::{FEWEST, MOST};
use monocle_paired::table::table;

/// The longest limit of a run: a day.
const MOST_SECONDS: f64 = 86_400.0;

/// Compares the speed of two commands, run in turns, with a probe of the memory before each run.
///
/// The ratio is the median of the pairs' ratios; its interval (at least 95 %) comes from order statistics and assumes nothing about how
/// figures are distributed. Commands run without a shell; write sh -c '...' for one.
#[derive(Parser)]
#[command(version, args_override_self = true)]
struct Arguments {
    /// The command that the other is held against
    #[arg(long, value_name = "COMMAND")]
    a: CommandLine,
    /// The other command
    #[arg(long, value_name = "COMMAND")]
    b: CommandLine,
    /// How often both run; fewer than 20 are a look, no measurement
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = pairs)]
    pairs: usize,
    /// How often both run before, without counting
    #[arg(long, value_name = "N", default_value_t = 1)]
    warm_up: usize,
    /// What is measured: `wall` (seconds), a JSON pointer into the output such as /timings/decode_tokens_per_s, or a regular expression
    /// with a group `figure` (its last match counts)
    #[arg(long, value_name = "MEASURE", default_value = "wall")]
    measure: Measure,
    /// A larger figure is better, as of tokens a second
    #[arg(long)]
    higher_is_better: bool,
    /// Ask whether the two differ by less than this
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = above_0)]
    within: f64,
    /// The longest that a run may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, value_parser = seconds)]
    timeout: f64,
    /// Draws which command of a pair goes first
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads of the probe [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory that the probe reads, several times the last cache, and holds until the end
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    probe_mib: u32,
    /// Let the probe read this file, mapped, instead of memory of its own; it must not be cut short meanwhile
    #[arg(long, value_name = "FILE", conflicts_with = "probe_mib")]
    probe_file: Option<PathBuf>,
    /// Pages that the probe reads through
    #[arg(long, value_enum, default_value_t = Pages::Default)]
    pages: Pages,
    /// Bytes of memory that a unit of work reads: a run if the figure is seconds, what is counted if it is a rate. Shows figures as a share
    /// of the probe's rate
    #[arg(long, value_name = "BYTES", value_parser = above_0)]
    bytes_per_unit: Option<f64>,
    /// Write everything to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    // Before the work, which may take an hour. What the file held stays until there is something to replace it.
    let mut json = arguments
        .json
        .as_ref()
        .map(|path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("`{}` cannot be written", path.display()))
        })
        .transpose()?;
    let running = Running::default();
    end_with_command(running.clone())?;
    let report = compare(&settings(arguments), &running, &mut |event| {
        // If nobody reads it, nobody needs it.
        let _ = writeln!(io::stderr(), "{event}");
    })?;
    if let Some(file) = &mut json {
        write_json(file, &report).context("writing the JSON file")?;
    }
    let mut output = io::stdout().lock();
    output
        .write_all(table(&report).as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write to standard output")
}

fn settings(arguments: Arguments) -> Settings {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    Settings {
        a: arguments.a,
        b: arguments.b,
        pairs: arguments.pairs,
        warm_up: arguments.warm_up,
        seed: arguments.seed,
        measure: arguments.measure,
        higher_is_better: arguments.higher_is_better,
        within: arguments.within / 100.0,
        timeout: Duration::from_secs_f64(arguments.timeout),
        bytes_per_unit: arguments.bytes_per_unit,
        source: match arguments.probe_file {
            Some(path) => Source::File(path),
            None => Source::Memory((arguments.probe_mib as usize) << 20),
        },
        pages: arguments.pages,
        threads: arguments.threads.map_or_else(cores, usize::from),
    }
}

/// A command is in a process group of its own and hears no Ctrl-C: whoever ends this program ends it too.
fn end_with_command(running: Running) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            running.end();
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

fn write_json(file: &mut File, report: &Report) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    file.set_len(0)?;
    file.write_all(&text)?;
    Ok(())
}

fn pairs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|pairs| (FEWEST..=MOST).contains(pairs))
        .ok_or_else(|| format!("expected {FEWEST} to {MOST}: of fewer there is no interval"))
}

fn above_0(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = above_0(text)?;
    if seconds <= MOST_SECONDS {
        Ok(seconds)
    } else {
        Err(format!("expected at most {MOST_SECONDS}"))
    }
}
