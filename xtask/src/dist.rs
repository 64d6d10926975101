//! `cargo xtask dist`: archives for machines without Rust, what installs them, and a bare system to try them in.

mod archive;
mod bare;
mod build;
mod dependencies;
mod installers;
mod licences;
mod mac;
mod macho;
mod origin;
mod others;
mod sbom;
mod serve;
mod stubs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use archive::Tree;
use bare::System;
use build::Built;
use origin::Folders;
use others::Other;

use crate::process::{run, works};

/// The number of the release; the program and the plugins have the same.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What archives are made for where nothing is said.
const TRIPLES: [&str; 3] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    mac::TRIPLE,
];
/// Where archives have what shells complete with.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/monocle"),
    ("zsh", "share/zsh/site-functions/_monocle"),
    ("fish", "share/fish/vendor_completions.d/monocle.fish"),
];
/// Where they have the manual's pages.
const MANUALS: &str = "share/man/man1";
/// Where they have libraries, all of them built by others.
const LIBRARIES: &str = "lib";

/// Makes what the arguments ask for.
pub fn dist(target: &Path, arguments: &[String]) -> Result<()> {
    let mut triples = Vec::new();
    let mut from = String::new();
    let mut is_here = false;
    let mut left = arguments.iter();
    while let Some(argument) = left.next() {
        match argument.as_str() {
            "--here" => is_here = true,
            "--from" => {
                let next = left.next().context("`--from` takes an address")?;
                from = address(next)?;
            }
            triple if TRIPLES.contains(&triple) => triples.push(triple),
            other => bail!(
                "there is no archive for `{other}`; there are {}",
                TRIPLES.join(", ")
            ),
        }
    }
    let place = made(&target.join("dist"))?;
    if is_here {
        return here(target, &place);
    }
    if triples.is_empty() {
        triples = TRIPLES.to_vec();
    }
    let changes = fs::read_to_string("CHANGELOG.md").context("reading `CHANGELOG.md`")?;
    check_changes(&changes, !from.is_empty())?;
    for triple in triples {
        let building = target.join("dist/build");
        let (name, hash) = match triple == mac::TRIPLE {
            true => macos(target, &place, &building)?,
            false => linux(target, &place, &building, triple)?,
        };
        println!(
            "{}: sha256 {hash}",
            place.join(format!("{name}.tar.xz")).display()
        );
    }
    installers::write(&place, &from)
}

/// Where archives will be fetched from: only from there does `install.sh` take them.
fn address(text: &str) -> Result<String> {
    if !text.starts_with("https://") {
        bail!("`--from` takes an address that begins with `https://`, not `{text}`");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The program as any build on this machine makes it, in an archive of its own, tried as others would use it: for those who change the
/// project, and for CI.
fn here(target: &Path, place: &Path) -> Result<()> {
    crate::build()?;
    let triple = host()?;
    let name = format!("monocle-{VERSION}-{triple}");
    let place = made(&place.join("here"))?;
    let built = target.join("release").join("monocle");
    let program = place.join("monocle");
    fs::copy(&built, &program).with_context(|| format!("copying `{}`", built.display()))?;
    if works(Command::new("strip").arg("--version")) {
        run(Command::new("strip").arg(&program))?;
    }
    let tree = tree(&program, &target.join("plugins"), &program, &triple, &[], &[])?;
    let (path, hash) = archive::write(&tree, &name, &place)?;
    println!("{}: sha256 {hash}", path.display());
    installers::write(&place, "")?;
    try_out(&place, &name, System::Here(&program))
}

/// The archive for this machine's kind, built twice in different folders, then tried.
pub fn verify(target: &Path) -> Result<()> {
    let triple = TRIPLES[0];
    if host()? != triple {
        bail!("only a machine of {triple} can try its archive");
    }
    let place = made(&target.join("dist/verify"))?;
    let again = made(&place.join("again"))?;
    let (name, first) = linux(target, &place, &target.join("dist/build"), triple)?;
    let (_, second) = linux(target, &again, &target.join("dist/build-again"), triple)?;
    if first != second {
        bail!(
            "two builds differ: `{name}.tar.xz` is {first} in `{}`, {second} in `{}`",
            place.display(),
            again.display()
        );
    }
    println!("{name}: two builds are equal, sha256 {first}");
    installers::write(&place, "")?;
    let program = target.join("dist/build").join(triple).join("release/monocle");
    try_out(&place, &name, System::Here(&program))
}

/// The archive for ARM, asked and installed as far as qemu is a machine.
pub fn verify_arm(target: &Path) -> Result<()> {
    let triple = TRIPLES[1];
    let place = made(&target.join("dist/verify-arm"))?;
    let (name, hash) = linux(target, &place, &target.join("dist/build"), triple)?;
    println!("{name}: sha256 {hash}");
    installers::write(&place, "")?;
    try_out(&place, &name, System::Arm)
}

/// A folder, made if it is not there; without `..` and links.
fn made(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
    folder
        .canonicalize()
        .with_context(|| format!("finding `{}`", folder.display()))
}

/// What an archive is packed of.
struct Contents<'a> {
    program: &'a Path,
    plugins: &'a Path,
    /// What must not be named in what is built.
    folders: &'a Folders,
    /// What is in it that is no crate.
    others: &'a [Other],
    /// Files for its `lib`, by name.
    libraries: &'a [(&'a str, PathBuf)],
}

/// An archive for a Linux, built in a folder; gives its name and hash.
fn linux(target: &Path, place: &Path, building: &Path, triple: &str) -> Result<(String, String)> {
    let Built {
        program,
        plugins,
        folders,
        zig,
    } = build::linux(target, building, triple)?;
    let others = others::of_zig(&zig, "libunwind", "lib/libunwind/LICENSE.TXT")?;
    let contents = Contents {
        program: &program,
        plugins: &plugins,
        folders: &folders,
        others: &others,
        libraries: &[],
    };
    pack(target, place, triple, contents)
}

/// The archive for Macs, with MLX's library beside the program.
fn macos(target: &Path, place: &Path, building: &Path) -> Result<(String, String)> {
    let built = mac::build(target, building)?;
    let mut others = others::of_mlx(&built.mlx)?;
    others.extend(others::of_zig(&built.zig, "libcxx", "lib/libcxx/LICENSE.TXT")?);
    let pages = mac::check(&built).context("the program for macOS would not start")?;
    println!("the program for macOS: {pages} signed pages, and each library has what it takes");
    let contents = Contents {
        program: &built.program,
        plugins: &built.plugins,
        folders: &built.folders,
        others: &others,
        libraries: &mac::libraries(&built),
    };
    pack(target, place, mac::TRIPLE, contents)
}

/// Packs an archive into a folder; gives its name and hash.
fn pack(target: &Path, place: &Path, triple: &str, contents: Contents<'_>) -> Result<(String, String)> {
    let Contents {
        program,
        plugins,
        folders,
        others,
        libraries,
    } = contents;
    let speaker = speaker(target, program)?;
    let tree = tree(program, plugins, &speaker, triple, others, libraries)?;
    // Whoever built the libraries did so elsewhere.
    folders.check(&tree, LIBRARIES)?;
    let name = format!("monocle-{VERSION}-{triple}");
    let (_, hash) = archive::write(&tree, &name, place)?;
    Ok((name, hash))
}

/// The archive for Macs, looked at as far as that can be done without one.
pub fn verify_macos(target: &Path) -> Result<()> {
    let place = made(&target.join("dist/verify-macos"))?;
    let (name, hash) = macos(target, &place, &target.join("dist/build"))?;
    println!("{name}: sha256 {hash}");
    Ok(())
}

/// An archive in a bare system: asked, and installed.
fn try_out(place: &Path, name: &str, system: System<'_>) -> Result<()> {
    bare::answers(&place.join(format!("{name}.tar.xz")), name, system, place)?;
    bare::installs(place, VERSION, name, system, place)
}

/// A program that runs on this machine and knows the same commands: the built one, or this machine's own.
fn speaker(target: &Path, program: &Path) -> Result<PathBuf> {
    if works(Command::new(program).arg("--version")) {
        return Ok(program.to_owned());
    }
    crate::build()?;
    Ok(target.join("release").join("monocle"))
}

/// All that an archive holds; its description, which names the rest, comes last.
fn tree(
    program: &Path,
    plugins: &Path,
    speaker: &Path,
    triple: &str,
    others: &[Other],
    libraries: &[(&str, PathBuf)],
) -> Result<Tree> {
    let mut tree = Tree::default();
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading `{}`", path.display()));
    tree.add_program("bin/monocle", read(program)?);
    for (name, path) in libraries {
        tree.add(format!("{LIBRARIES}/{name}"), read(path)?);
    }
    let shared = "share/monocle";
    tree.add_folder(&format!("{shared}/manifests"), Path::new("manifests"), &[])?;
    tree.add_folder(&format!("{shared}/models"), Path::new("models"), &["train"])?;
    let names = crate::plugins(Path::new("plugins"))?;
    for name in names {
        let file = format!("{name}.wasm");
        tree.add(format!("{shared}/plugins/{file}"), read(&plugins.join(file))?);
    }
    for (shell, path) in COMPLETIONS {
        let script = crate::process::output(Command::new(speaker).args(["completions", shell]))?;
        tree.add(path, script);
    }
    let pages = speaker.with_file_name("monocle-manual");
    run(Command::new(speaker).arg("manual").arg(&pages))?;
    tree.add_folder(MANUALS, &pages, &[])?;
    fs::remove_dir_all(&pages).with_context(|| format!("removing `{}`", pages.display()))?;
    for name in ["LICENSE", "CHANGELOG.md"] {
        tree.add(name, read(Path::new(name))?);
    }
    let about = fs::read_to_string("packaging/archive.md").context("reading `packaging/archive.md`")?;
    tree.add(
        "README.md",
        about.replace("@VERSION@", VERSION).replace("@TRIPLE@", triple),
    );
    let crates = dependencies::of(triple)?;
    tree.add("LICENSES.txt", licences::text(&crates, others)?);
    tree.add("LICENSES-rust.html", licences::of_rust()?);
    let description = sbom::describe(VERSION, triple, &crates, others, &tree);
    let mut description = serde_json::to_string_pretty(&description).context("writing JSON")?;
    description.push('\n');
    tree.add("sbom.cdx.json", description);
    Ok(tree)
}

/// What a release says of itself, in `CHANGELOG.md`: the version must be there; where it will be fetched by others, with its date.
fn check_changes(changes: &str, is_for_others: bool) -> Result<()> {
    let start = format!("## {VERSION}");
    let about = changes.lines().find_map(|line| line.strip_prefix(&start));
    let Some(about) = about.filter(|about| about.is_empty() || about.starts_with(' ')) else {
        bail!("`CHANGELOG.md` has no section `{start}`: write what changed");
    };
    if is_for_others && about.contains("not released") {
        bail!(
            "`CHANGELOG.md` says `{start}{about}`: write the release's date there, like `{start} (2026-01-31)`"
        );
    }
    Ok(())
}

/// The triple of this machine.
fn host() -> Result<String> {
    let about = crate::process::output(Command::new("rustc").arg("-vV"))?;
    let triple = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("`rustc -vV` names the host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_its_section_and_its_date() {
        let said = |changes: &str, is_for_others: bool| {
            check_changes(changes, is_for_others).map_err(|error| error.to_string())
        };
        let dated = format!("# Changes\n\n## {VERSION} (2026-01-31)\n");
        let undated = format!("# Changes\n\n## {VERSION} (not released yet)\n");
        assert_eq!(said(&dated, true), Ok(()));
        assert_eq!(said(&undated, false), Ok(()));
        assert!(said(&undated, true).unwrap_err().contains("the release's date"));
        // A number that begins alike is another.
        let longer = format!("## {VERSION}1 (2026-01-31)\n");
        assert!(said(&longer, false).unwrap_err().contains("has no section"));
        // The project's own has this version's.
        let own = fs::read_to_string(crate::root().join("CHANGELOG.md")).unwrap();
        assert_eq!(said(&own, false), Ok(()));
    }

    #[test]
    fn archives_are_fetched_by_https() {
        let parse = |from: &str| address(from).map_err(|error| error.to_string());
        let plain = "https://example.org/monocle";
        assert_eq!(parse("https://example.org/monocle/").as_deref(), Ok(plain));
        for other in ["http://example.org", "example.org", ""] {
            assert!(parse(other).unwrap_err().contains("https"), "{other}");
        }
    }
}
