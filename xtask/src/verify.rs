//! `cargo xtask verify`: what is too slow for every change. It is run by hand before something is called done, and writes down
//! what came out and when.

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{cargo_command, output, run, works, write_if_changed};

/// Where results stand.
const PAGE: &str = "docs/verification.md";

/// Seconds of fuzzing for each target.
const FUZZING: u32 = 120;
/// What one input may take: no target's own bound on time is longer than 100 seconds.
const LONGEST_INPUT: u32 = 120;
/// Mebibytes that a target may have resident. The largest, which compiles plugins and opens models, had some 120.
const FUZZER_MEMORY: u32 = 1024;

/// Cargo's words for the tests of the engine `cpu` and its kernels.
const TEST_KERNELS: [&str; 6] = ["test", "--release", "-p", "monocle-cpu", "-p", "monocle-kernels"];

/// One thing to verify.
struct Part {
    name: &'static str,
    what: &'static str,
    run: fn(&Path) -> Result<()>,
}

const PARTS: [Part; 19] = [
    Part {
        name: "fuzz",
        what: "each fuzz target for two minutes: manifests and what they ask for, headers of safetensors and GGUF files, programs, \
               templates, tokenizers, pictures, plans, what plugins answer, what servers answer",
        run: fuzz,
    },
    Part {
        name: "deny",
        what: "licences, sources and known faults of all dependencies, by cargo-deny",
        run: deny,
    },
    Part {
        name: "faults",
        what: "each read, write, rename and mapping of small runs fails once, and each charge to a request's budget: the right answer or an \
               error, and nothing half-written",
        run: faults,
    },
    Part {
        name: "loom",
        what: "the schedules that the threads of the engine `cpu` may have, tried out by loom",
        run: loom,
    },
    Part {
        name: "soak",
        what: "5,000 requests one after another, and 5,000 many at a time: memory is level at the end",
        run: soak,
    },
    Part {
        name: "schedules",
        what: "10,000 random schedules of many requests on an engine that hashes what each row may see",
        run: schedules,
    },
    Part {
        name: "batches",
        what: "31 requests together on each parity checkpoint, on the engine `cpu`",
        run: batches,
    },
    Part {
        name: "catalogue",
        what: "`monocle catalogue` killed at 200 random moments among 2,000 drawn pictures, and its sidecars read by exiftool and exempi",
        run: catalogue,
    },
    Part {
        name: "clients",
        what: "client libraries, schemathesis, and 32 clients for ten minutes against `monocle serve`",
        run: clients,
    },
    Part {
        name: "dist",
        what: "the archive for x86-64 Linux, built twice with equal bytes, in a bare system: asked the demo's question, and installed",
        run: dist,
    },
    Part {
        name: "dist-arm",
        what: "the archive for 64-bit ARM Linux, asked the demo's question under qemu",
        run: dist_arm,
    },
    Part {
        name: "dist-macos",
        what: "the archive for Macs: what its program asks for is there, and each page has the hash that is signed",
        run: dist_macos,
    },
    Part {
        name: "full-size",
        what: "models as large as people run, their weights left out, inspected with a photo of 43 megapixels",
        run: full_size,
    },
    Part {
        name: "heif",
        what: "HEIC and AVIF pictures by libheif, which is built for it",
        run: heif,
    },
    Part {
        name: "page",
        what: "the page of `monocle serve` in Chromium, by playwright-core",
        run: page,
    },
    Part {
        name: "sanitizer",
        what: "the tests of the engine `cpu` and its kernels, random programs among them, under AddressSanitizer",
        run: sanitizer,
    },
    Part {
        name: "neon",
        what: "the tests of the engine `cpu` and its kernels for 64-bit ARM, under qemu",
        run: neon,
    },
    Part {
        name: "servers",
        what: "llama.cpp's own server, built for it, as a row of `monocle check`",
        run: servers,
    },
    Part {
        name: "shapes-mlx",
        what: "all reference answers of the demo model on the engine `mlx`, in the precision that it is stored in",
        run: shapes_on_mlx,
    },
];

/// Runs the parts of these names, or all; every part is tried, whatever became of those before it.
pub fn verify(target: &Path, names: &[String]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| PARTS.iter().all(|part| part.name != **name))
    {
        let known: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no part `{unknown}`; the parts are {}", known.join(", "));
    }
    let chosen = PARTS
        .iter()
        .filter(|part| names.is_empty() || names.iter().any(|name| name == part.name));
    let mut failed = Vec::new();
    for part in chosen {
        println!("verify {}: {}", part.name, part.what);
        let started = Instant::now();
        let result = (part.run)(target);
        let seconds = started.elapsed().as_secs();
        let outcome = match &result {
            Ok(()) => format!("passed in {seconds} s"),
            Err(error) => {
                // The page is everybody's: it names no folder of this machine.
                let here = target.canonicalize().unwrap_or_else(|_| target.to_owned());
                let error = format!("{error:#}").replace(&here.display().to_string(), "target");
                format!("FAILED after {seconds} s: {}", first_line(&error))
            }
        };
        println!("verify {}: {outcome}", part.name);
        note(part.name, &outcome)?;
        if result.is_err() {
            failed.push(part.name);
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("not verified: {}", failed.join(", ")),
    }
}

fn fuzz(target: &Path) -> Result<()> {
    if !works(Command::new("cargo").args(["+nightly", "fuzz", "--version"])) {
        bail!(
            "fuzzing needs a nightly compiler and cargo-fuzz: `rustup toolchain install nightly`, `cargo install cargo-fuzz`"
        );
    }
    let target = target.canonicalize().context("finding the target folder")?;
    // Fuzzers look for plugins where tests do: in the folder above their own program's.
    let folder = target.join("fuzz");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for plugins in ["plugins", "test-plugins"] {
        let link = folder.join(plugins);
        if !link.exists() {
            std::os::unix::fs::symlink(target.join(plugins), &link)
                .with_context(|| format!("making {}", link.display()))?;
        }
    }
    for (folder, name) in [
        ("plugin-api/manifest", "manifest"),
        ("host/weights", "header"),
        ("host/weights", "gguf"),
        ("host/cpu", "programs"),
        ("host/cpu", "steps"),
        ("host/text", "template"),
        ("host/text", "tokenizer"),
        ("host/image", "picture"),
        ("tests", "plan"),
        ("tests", "lifted"),
        ("tests", "model_manifest"),
        ("tests", "component"),
        ("tests", "answers"),
    ] {
        let mut command = Command::new("cargo");
        command.current_dir(folder);
        // The same on every machine's C++ library.
        // What is found goes into the first folder: those that are committed stay as they are.
        let found = target.join("fuzz").join("corpus").join(name);
        std::fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
        command.args(["+nightly", "fuzz", "run", "--sanitizer", "none", name]);
        command.arg(&found);
        let committed = Path::new("fuzz/corpus").join(name);
        if Path::new(folder).join(&committed).is_dir() {
            command.arg(committed);
        }
        command.arg("--");
        command.arg(format!("-max_total_time={FUZZING}"));
        command.arg(format!("-timeout={LONGEST_INPUT}"));
        command.arg(format!("-rss_limit_mb={FUZZER_MEMORY}"));
        // Plugins are compiled there, and not among the user's.
        command.env("MONOCLE_CACHE", target.join("plugin-cache"));
        command.env("CARGO_TARGET_DIR", target.join("fuzz"));
        run(&mut command)?;
    }
    Ok(())
}

fn sanitizer(target: &Path) -> Result<()> {
    if !works(Command::new("cargo").args(["+nightly", "--version"])) {
        bail!("sanitizers need a nightly compiler: `rustup toolchain install nightly`");
    }
    let about = output(Command::new("rustc").args(["+nightly", "-vV"]))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` does not say for which system it is")?;
    let mut command = Command::new("cargo");
    // With a target, the flags are for it alone and not for what runs while it is built.
    command
        .arg("+nightly")
        .args(TEST_KERNELS)
        .args(["--target", host]);
    command.env("RUSTFLAGS", "-Zsanitizer=address");
    // Lists that no system has room for are asked for, and refused.
    command.env("ASAN_OPTIONS", "allocator_may_return_null=1");
    command.env("CARGO_TARGET_DIR", target.join("sanitizer"));
    run(&mut command)
}

fn neon(target: &Path) -> Result<()> {
    let (compiler, emulator) = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static");
    if ![compiler, emulator]
        .iter()
        .all(|program| works(Command::new(program).arg("--version")))
    {
        bail!(
            "`{compiler}` and `{emulator}` are needed (Debian: `gcc-aarch64-linux-gnu qemu-user-static`), and `rustup target add \
             aarch64-unknown-linux-gnu`"
        );
    }
    let mut command = cargo_command();
    command.args(TEST_KERNELS).args([
        "--target",
        "aarch64-unknown-linux-gnu",
        "--",
        // It starts itself, which only the processor's own system can do.
        "--skip",
        "there_is_a_thread_for_each_processor_that_may_be_used",
    ]);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", compiler);
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
        format!("{emulator} -L /usr/aarch64-linux-gnu"),
    );
    command.env("CARGO_TARGET_DIR", target.join("neon"));
    run(&mut command)
}

fn faults(_: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--lib",
        "--test",
        "program",
        "--",
        "faults::",
        "any_charge_may_be_refused",
    ]);
    run(command.env("MONOCLE_FAULTS", "all"))
}

fn loom(target: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args(["test", "--release", "-p", "monocle-kernels", "--lib", "threads::"]);
    command.env("RUSTFLAGS", "--cfg loom");
    command.env("CARGO_TARGET_DIR", target.join("loom"));
    run(&mut command)
}

fn deny(_: &Path) -> Result<()> {
    if !works(Command::new("cargo").args(["deny", "--version"])) {
        bail!("dependencies are looked at by cargo-deny: `cargo install cargo-deny`");
    }
    let mut command = Command::new("cargo");
    run(command.args(["deny", "--locked", "check"]))
}

fn soak(_: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--test",
        "soak",
        "--test",
        "soak_together",
    ]);
    run(command.env("MONOCLE_SOAK_REQUESTS", "5000"))
}

fn schedules(_: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--test",
        "scheduler",
        "hashed",
    ]);
    run(command.env("MONOCLE_SCHEDULES", "10000"))
}

fn catalogue(_: &Path) -> Result<()> {
    if !works(Command::new("exiftool").arg("-ver"))
        || !works(Command::new("sh").args(["-c", "command -v exempi"]))
    {
        bail!(
            "sidecars are read by Debian's packages `libimage-exiftool-perl` and `exempi`: install them first"
        );
    }
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--test",
        "catalogue",
        "--",
        "--nocapture",
    ]);
    command.env("MONOCLE_CATALOGUE_PHOTOS", "2000");
    run(command.env("MONOCLE_CATALOGUE_KILLS", "200"))
}

fn batches(_: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--test",
        "scheduler",
        "batches",
    ]);
    run(command.env("MONOCLE_BATCH", "31"))
}

fn clients(target: &Path) -> Result<()> {
    crate::tools::clients(target)?;
    test_serving("clients")
}

fn dist(target: &Path) -> Result<()> {
    crate::dist::verify(target)
}

fn dist_arm(target: &Path) -> Result<()> {
    crate::dist::verify_arm(target)
}

fn dist_macos(target: &Path) -> Result<()> {
    crate::dist::verify_macos(target)
}

fn full_size(target: &Path) -> Result<()> {
    let python = crate::tools::references(target)?;
    let folder = target.join("full-size");
    fs::create_dir_all(&folder).with_context(|| format!("creating `{}`", folder.display()))?;
    run(Command::new(python)
        .arg("tests/oracle/make_full_size.py")
        .arg(&folder))?;
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "--workspace",
        "--test",
        "program",
        "full_size",
    ]);
    let folder = folder.canonicalize().context("finding the models")?;
    run(command.env("MONOCLE_FULL_SIZE", folder))
}

fn heif(_: &Path) -> Result<()> {
    let mut command = cargo_command();
    command.args([
        "test",
        "--release",
        "-p",
        "monocle-image",
        "--features",
        "heif",
        "--test",
        "heif",
    ]);
    run(&mut command)
}

fn page(target: &Path) -> Result<()> {
    crate::tools::page(target)?;
    if crate::tools::browser().is_none() {
        bail!("no Chromium is on the path; on Debian: apt-get install chromium");
    }
    test_serving("clients::the_page")
}

fn servers(target: &Path) -> Result<()> {
    let program = crate::tools::llama_server(target)?;
    let mut build = cargo_command();
    build.args(["build", "--release", "--workspace", "--bin", "monocle"]);
    run(&mut build)?;
    let mut command = cargo_command();
    command.args(["test", "--release", "--workspace", "--test", "gguf", "server"]);
    run(command.env("MONOCLE_LLAMA_SERVER", program))
}

/// A test of the server that other programs take part in.
fn test_serving(name: &str) -> Result<()> {
    let mut build = cargo_command();
    build.args(["build", "--release", "--workspace", "--bin", "monocle"]);
    run(&mut build)?;
    let mut command = cargo_command();
    command.args(["test", "--release", "--workspace", "--test", "serve", name]);
    // `many_clients_get_their_answers_and_leave_nothing_behind`, for longer than in CI.
    command.env("MONOCLE_LOAD_SECONDS", "600");
    run(&mut command)
}

fn shapes_on_mlx(target: &Path) -> Result<()> {
    crate::mlx::test_one(target, "shapes")
}

/// Puts a part's result into its row of the page.
fn note(name: &str, outcome: &str) -> Result<()> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("reading `{PAGE}`"))?;
    let date = output(Command::new("date").arg("+%Y-%m-%d"))?;
    let commit = output(Command::new("git").args(["rev-parse", "--short", "HEAD"]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let row = format!(
        "| `{name}` | {} | {} | {cores} cores, {} {} | {outcome} |",
        date.trim(),
        commit.trim(),
        env::consts::ARCH,
        env::consts::OS
    );
    write_if_changed(Path::new(PAGE), with_row(&page, name, &row).as_bytes())?;
    Ok(())
}

/// The page with a part's row in place of its old one, or at the end of the table.
fn with_row(page: &str, name: &str, row: &str) -> String {
    let start = format!("| `{name}` |");
    let mut lines: Vec<&str> = page.lines().collect();
    match lines.iter().position(|line| line.starts_with(&start)) {
        Some(index) => lines[index] = row,
        None => {
            let end = lines.iter().rposition(|line| line.starts_with('|'));
            lines.insert(end.map_or(lines.len(), |end| end + 1), row);
        }
    }
    lines.join("\n") + "\n"
}

fn first_line(text: &str) -> String {
    // A bar would end the table's cell.
    let line = text.lines().next().unwrap_or_default().replace('|', "/");
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::with_row;

    const PAGE: &str = "# Title\n\n| part | result |\n|---|---|\n| `fuzz` | old |\n\nThe end.\n";

    #[test]
    fn a_row_takes_the_place_of_its_old_one() {
        let page = with_row(PAGE, "fuzz", "| `fuzz` | new |");
        assert_eq!(page, PAGE.replace("old", "new"));
    }

    #[test]
    fn a_new_row_ends_the_table() {
        let page = with_row(PAGE, "soak", "| `soak` | new |");
        assert_eq!(page, PAGE.replace("old |\n", "old |\n| `soak` | new |\n"));
    }
}
