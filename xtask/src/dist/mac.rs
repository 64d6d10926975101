//! The program for Apple Silicon with MLX's own library from its Python wheel, built on Linux: zig compiles C and C++, Rust's own linker links
//! with stubs of macOS' libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::build::{Zig, add_target};
use super::macho::Image;
use super::origin::Folders;
use super::stubs;
use crate::process::{make_executable, output, run, write_if_changed};
use crate::{mirror, wheel};

/// The triple of Macs with Apple's processors.
pub const TRIPLE: &str = "aarch64-apple-darwin";

/// Where the program looks for MLX's library.
const BESIDE: &str = "@executable_path/../lib";
/// The oldest macOS, 14.0, as its files have it.
const OLDEST: u32 = 14 << 16;

/// Read before C++'s own headers: numbers that zig's <math.h> lacks, and that symbols of a newer libc++ than the oldest system's are not used.
const PRELUDE: &str = "\
#pragma once
#include <math.h>
#ifndef NAN
#define NAN __builtin_nanf(\"\")
#endif
#ifndef INFINITY
#define INFINITY __builtin_inff()
#endif
";

/// What was built.
pub struct Built {
    /// The program's file.
    pub program: PathBuf,
    /// The folder of the plugins.
    pub plugins: PathBuf,
    /// The wheel's folder: `lib/libmlx.dylib`, `lib/mlx.metallib`.
    pub mlx: PathBuf,
    /// What must not be named in them.
    pub folders: Folders,
    /// Libraries of macOS, and the symbols that may be taken from each.
    pub libraries: stubs::Libraries,
    /// The stub of libSystem.
    pub system: PathBuf,
    /// Where zig lies.
    pub zig: PathBuf,
}

/// Builds in a folder of its own.
pub fn build(target: &Path, place: &Path) -> Result<Built> {
    let zig = Zig::here(target)?;
    add_target(TRIPLE)?;
    let macos = place.join("macos");
    fs::create_dir_all(&macos).with_context(|| format!("creating `{}`", macos.display()))?;
    let place = place.canonicalize().context("finding the folder to build in")?;
    let macos = place.join("macos");
    let mlx = wheel::fetch(&macos, wheel::METAL, Some(wheel::OLDEST_MACOS))?;
    let workspace = mirror::make(&macos, Path::new(wheel::OVERLAY))?;
    let sdk = macos.join("sdk");
    let libraries = stubs::write(&sdk, &zig.folder)?;
    let linker = write_linker(&macos)?;
    let prelude = macos.join("prelude.h");
    write_if_changed(&prelude, PRELUDE.as_bytes())?;
    let folders = Folders::here(&place)?
        .and(zig.folder.clone(), "zig")
        .and(workspace.clone(), "monocle")
        .and(workspace.join(mirror::MLX_SYS), "crates/mlx-sys");
    crate::build_plugins_into(&place, &["plugins"], Some(&folders.for_rustc()))?;
    let mut command = zig.build(&place, &folders, TRIPLE)?;
    let linking = format!("-Clinker={}\u{1f}-Clinker-flavor=ld64.lld", linker.display());
    let annotated = "_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS";
    command
        .current_dir(workspace)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("{}\u{1f}{linking}", folders.for_rustc()),
        )
        .env(
            "CXXFLAGS",
            format!(
                "{} -include {} -U{annotated} -D{annotated}=1 -Wno-macro-redefined",
                folders.for_c(),
                prelude.display()
            ),
        )
        .env("MLX_ROOT", &mlx)
        .env("SDKROOT", &sdk)
        .env("MACOSX_DEPLOYMENT_TARGET", wheel::MACOS)
        // The linker leaves symbols out, before it signs.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    run(&mut command)?;
    Ok(Built {
        program: place.join(TRIPLE).join("release").join("monocle"),
        plugins: place.join("plugins"),
        mlx,
        folders,
        libraries,
        system: sdk.join("usr/lib/libSystem.tbd"),
        zig: zig.folder,
    })
}

/// MLX's files, by the names that they have in an archive's `lib`.
pub fn libraries(built: &Built) -> [(&'static str, PathBuf); 2] {
    ["libmlx.dylib", "mlx.metallib"].map(|name| (name, built.mlx.join("lib").join(name)))
}

/// Looks at the program and at MLX's library as a Mac would before it starts them; gives the number of signed pages.
pub fn check(built: &Built) -> Result<usize> {
    let bytes = fs::read(&built.program).with_context(|| format!("reading `{}`", built.program.display()))?;
    let program = Image::read(&bytes)?;
    if !program.is_program {
        bail!("it is no program");
    }
    if program.search != [BESIDE] {
        bail!(
            "it looks for libraries in {:?}, expected `{BESIDE}`",
            program.search
        );
    }
    let [(_, library), _] = libraries(built);
    let about = || format!("MLX's library, `{}`", library.display());
    let mlx_bytes = fs::read(&library).with_context(about)?;
    let mlx = Image::read(&mlx_bytes).with_context(about)?;
    // What it takes from macOS' libraries is Apple's business; that it is for this system, asks for nothing else and is signed can be told.
    mlx.check_system(OLDEST)
        .and_then(|()| mlx.check_libraries())
        .and_then(|()| mlx.check_signature(&mlx_bytes))
        .with_context(about)?;
    let system =
        fs::read_to_string(&built.system).with_context(|| format!("reading `{}`", built.system.display()))?;
    let mut known: BTreeMap<String, BTreeSet<String>> = built
        .libraries
        .iter()
        .map(|(library, symbols)| (library.clone(), symbols.iter().cloned().collect()))
        .collect();
    known.insert("/usr/lib/libSystem.B.dylib".to_owned(), stubs::names(&system));
    known.insert("@rpath/libmlx.dylib".to_owned(), mlx.exports);
    program.check_system(OLDEST)?;
    program.check_imports(&known)?;
    program.check_signature(&bytes)
}

/// A script that starts Rust's linker with what an archive wants: MLX is found beside the program's folder, names of functions are left out.
/// Not zig's: it would link a second C++ library into the program, and exceptions of MLX would not be caught
/// (ziglang/zig#11422).
fn write_linker(folder: &Path) -> Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let linker = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(super::host()?)
        .join("bin/rust-lld");
    // Some crates are linked as libraries on the way, which export what others ask for; the program exports nothing.
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in\n    *' -dylib '*) ;;\n    *) set -- \"$@\" -rpath {BESIDE} -no_exported_symbols ;;\nesac\n\
         exec '{}' \"$@\" -S -x -dead_strip_dylibs --error-limit=0\n",
        linker.display()
    );
    let path = folder.join("link");
    write_if_changed(&path, script.as_bytes())?;
    make_executable(&path)?;
    Ok(path)
}
