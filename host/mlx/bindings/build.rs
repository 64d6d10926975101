//! Stands in for the build script of mlx-sys where macOS is only checked for (`cargo xtask check-macos`): the bindings,
//! made from mlx-c's headers, and nothing built or linked.

use std::env;
use std::path::{Path, PathBuf};

#[path = "src/bindgen_config.rs"]
mod bindgen_config;

const MLX_C: &str = "src/mlx-c";

/// Before mlx-c's own headers, which need a macOS SDK for no more than this on Arm.
const PRELUDE: &str = "sdk.h";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PRELUDE}");
    let mlx_c = Path::new(MLX_C);
    let headers = bindgen_config::discover_headers(mlx_c).expect("the headers of mlx-c are readable");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets the output folder"));
    bindgen_config::builder(mlx_c, &headers)
        // As this machine's compiler sees them: the host's headers, Arm's 16-bit floats by another name.
        .clang_args(["--target=x86_64-unknown-linux-gnu", "-include", PRELUDE])
        .blocklist_type("float16_t")
        .raw_line("#[repr(transparent)] #[derive(Clone, Copy, Debug, Default)] pub struct float16_t(pub u16);")
        .generate()
        .expect("bindgen reads the headers of mlx-c")
        .write_to_file(out.join("bindings.rs"))
        .expect("the output folder is writable");
}
