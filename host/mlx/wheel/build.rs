//! Stands in for the build script of mlx-sys where there is no macOS: builds mlx-c against an installed MLX library and
//! generates the same bindings. `cargo xtask test --engine mlx` puts it into a copy of mlx-sys, `compat` beside it.
//!
//! `MLX_ROOT` names the folder `mlx` of an unpacked wheel (`mlx-cpu` on PyPI): headers, CMake package and `libmlx.so`.

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
        eprintln!("`MLX_ROOT` must name the folder `mlx` of an unpacked `mlx-cpu` wheel");
        std::process::exit(1);
    };
    link(&mlx);
    bind();
}

/// mlx-c as a static library, MLX itself as the wheel's shared one.
fn link(mlx: &Path) {
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest's folder");
    // Compilers without <format> (before GCC 13) get it from libfmt.
    let built = cmake::Config::new(MLX_C)
        .define("MLX_C_USE_SYSTEM_MLX", "ON")
        .define("MLX_C_BUILD_EXAMPLES", "OFF")
        .define("MLX_DIR", mlx.join("share/cmake/MLX"))
        .define("CMAKE_BUILD_TYPE", "Release")
        .cxxflag(format!(
            "-isystem{here}/compat/inc -include {here}/compat/std_format.hpp"
        ))
        .build_target("mlxc")
        .build();
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .include(mlx.join("include"))
        .file("compat/half.cpp")
        .compile("mlxhalf");
    println!("cargo:rustc-link-search=native={}", built.join("build").display());
    println!("cargo:rustc-link-search=native={}", mlx.join("lib").display());
    println!("cargo:rustc-link-lib=static=mlxc");
    println!("cargo:rustc-link-lib=dylib=mlx");
    println!("cargo:rustc-link-lib=dylib=stdc++");
}

/// The bindings as mlx-sys makes them, with the 16-bit floats that mlx-c declares on Arm only.
fn bind() {
    let mlx_c = Path::new(MLX_C);
    let headers = bindgen_config::discover_headers(mlx_c).expect("the headers of mlx-c are readable");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets the output folder"));
    bindgen_config::builder(mlx_c, &headers)
        .clang_args(["-include", "compat/half.h"])
        // mlx-rs expects the tuple struct that bindgen makes of Arm's `__fp16`.
        .blocklist_type("float16_t")
        .raw_line("#[repr(transparent)] #[derive(Clone, Copy, Debug, Default)] pub struct float16_t(pub u16);")
        .generate()
        .expect("bindgen reads the headers of mlx-c")
        .write_to_file(out.join("bindings.rs"))
        .expect("the output folder is writable");
}
