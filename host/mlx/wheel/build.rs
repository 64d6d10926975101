//! Stands in for the build script of mlx-sys where MLX itself is not built: compiles mlx-c against the MLX library of a Python wheel, and
//! generates the same bindings. `xtask` puts it into a copy of mlx-sys, `compat` beside it: for Linux (`mlx-cpu` on PyPI), and for macOS
//! (`mlx-metal`), built there or on Linux.
//!
//! `MLX_ROOT` names the folder `mlx` of the unpacked wheel: headers, and the library.

use std::env;
use std::path::{Path, PathBuf};

#[path = "src/bindgen_config.rs"]
mod bindgen_config;

const MLX_C: &str = "src/mlx-c";

fn main() {
    println!("cargo:rerun-if-env-changed=MLX_ROOT");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=compat");
    let Some(mlx) = env::var_os("MLX_ROOT").map(PathBuf::from) else {
        eprintln!("`MLX_ROOT` must name the folder `mlx` of an unpacked wheel: `mlx-cpu`, or for macOS `mlx-metal`");
        std::process::exit(1);
    };
    let is_for_mac = variable("CARGO_CFG_TARGET_OS") == "macos";
    link(&mlx, is_for_mac);
    bind(is_for_mac);
}

/// mlx-c as a static library, MLX itself as the wheel's shared one.
fn link(mlx: &Path, is_for_mac: bool) {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").warnings(false);
    build.include(MLX_C).include(mlx.join("include"));
    if is_for_mac {
        // As the wheel's own CMake package says.
        build.include(mlx.join("include/metal_cpp"));
        build.define("_METAL_", None).define("ACCELERATE_NEW_LAPACK", None);
    } else {
        // Compilers without <format> (before GCC 13) get it from libfmt.
        let here = variable("CARGO_MANIFEST_DIR");
        build.flag(format!("-isystem{here}/compat/inc"));
        build.flag("-include").flag(format!("{here}/compat/std_format.hpp"));
        build.file("compat/half.cpp");
    }
    build.files(sources()).compile("mlxc");
    println!("cargo:rustc-link-search=native={}", mlx.join("lib").display());
    println!("cargo:rustc-link-lib=dylib=mlx");
}

/// All of mlx-c.
fn sources() -> Vec<PathBuf> {
    let entries = Path::new(MLX_C).join("mlx/c").read_dir().expect("mlx-c is readable");
    let paths = entries.map(|entry| entry.expect("mlx-c is readable").path());
    let mut sources: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "cpp")).collect();
    // One order on every machine, for equal bytes.
    sources.sort();
    sources
}

/// The bindings as mlx-sys makes them.
fn bind(is_for_mac: bool) {
    let mlx_c = Path::new(MLX_C);
    let headers = bindgen_config::discover_headers(mlx_c).expect("the headers of mlx-c are readable");
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut builder = bindgen_config::builder(mlx_c, &headers);
    let is_on_mac = cfg!(target_os = "macos");
    if !is_on_mac {
        // With the 16-bit floats that mlx-c declares on Arm only. mlx-rs expects the tuple struct that bindgen makes of Arm's `__fp16`.
        builder = builder
            .clang_args(["-include", "compat/half.h"])
            .blocklist_type("float16_t")
            .raw_line("#[repr(transparent)] #[derive(Clone, Copy, Debug, Default)] pub struct float16_t(pub u16);");
    }
    if is_for_mac && !is_on_mac {
        // With this machine's own headers, as Apple's are not here: no type of mlx-c's is laid out in another way.
        builder = builder.clang_arg(format!("--target={}", variable("HOST")));
    }
    builder
        .generate()
        .expect("bindgen reads the headers of mlx-c")
        .write_to_file(out.join("bindings.rs"))
        .expect("the output folder is writable");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets `{name}`"))
}
