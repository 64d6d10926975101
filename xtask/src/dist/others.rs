//! What is in an archive and is no crate: what compilers put into the program, MLX's library, and what that is built with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::wheel;

/// Something of others.
pub struct Other {
    /// For people.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// What it may be used under, as an SPDX expression.
    pub licence: &'static str,
    /// What kind of package it is, in a package URL, and its name there.
    pub package: String,
    /// What it is a part of, if not of the program: that one's reference.
    pub inside: Option<String>,
    /// The files with its licence.
    pub files: Vec<PathBuf>,
}

impl Other {
    /// Its package URL.
    pub fn reference(&self) -> String {
        match &self.version {
            Some(version) => format!("pkg:{}@{version}", self.package),
            None => format!("pkg:{}", self.package),
        }
    }
}

/// The licences of what MLX's library is built with, word for word.
const LICENCES: &str = "packaging/macos/licences";
/// The wheel's version that was looked at for this list: at MLX's `CMakeLists.txt`, its headers, and the names in its library.
const LOOKED_AT: &str = "0.32.2";
/// What MLX's library and kernels are built with: name, version, licence, package, and the file of its licence.
const IN_MLX: [(&str, Option<&str>, &str, &str, &str); 9] = [
    (
        "JSON for Modern C++",
        Some("3.11.3"),
        "MIT",
        "github/nlohmann/json",
        "nlohmann-json",
    ),
    ("{fmt}", Some("12.1.0"), "MIT", "github/fmtlib/fmt", "fmt"),
    (
        "gguf-tools",
        Some("8fa6eb65236618e28fd7710a0fba565f7faa1848"),
        "MIT",
        "github/antirez/gguf-tools",
        "gguf-tools",
    ),
    (
        "FP16, in gguf-tools",
        None,
        "MIT",
        "github/maratyszcza/fp16",
        "fp16",
    ),
    (
        "PocketFFT",
        None,
        "BSD-3-Clause",
        "generic/pocketfft",
        "pocketfft",
    ),
    (
        "ThreadPool",
        None,
        "Zlib",
        "github/progschj/threadpool",
        "thread-pool",
    ),
    (
        "V8's SmallVector",
        None,
        "BSD-3-Clause",
        "generic/v8",
        "small-vector",
    ),
    (
        "Norbert Juffa's expm1f",
        None,
        "BSD-2-Clause",
        "generic/expm1f",
        "expm1f",
    ),
    (
        "Thrust's cexpf",
        None,
        "Apache-2.0",
        "github/nvidia/cccl",
        "cexpf",
    ),
];

/// MLX of a wheel, and what its library is built with. `mlx`: the wheel's folder of that name.
pub fn of_mlx(mlx: &Path) -> Result<Vec<Other>> {
    let version = pinned(wheel::METAL, "mlx-metal")?;
    if version != LOOKED_AT {
        bail!(
            "`{}` asks for MLX {version}; what its library is built with was last looked at in {LOOKED_AT}: look again (MLX's \
             `CMakeLists.txt`, the copyright notices in the wheel's headers), then mend the list in `xtask/src/dist/others.rs`",
            wheel::METAL
        );
    }
    let own = Other {
        name: "MLX (libmlx.dylib, mlx.metallib)".to_owned(),
        version: Some(version),
        licence: "MIT",
        package: "pypi/mlx-metal".to_owned(),
        inside: None,
        files: vec![wheel::licence(mlx)?],
    };
    let inside = Some(own.reference());
    // It is Apache's licence, to which the notice of another part refers.
    let apache = mlx.join("include/metal_cpp/LICENSE.txt");
    let metal = Other {
        name: "metal-cpp".to_owned(),
        version: Some("26".to_owned()),
        licence: "Apache-2.0",
        package: "generic/metal-cpp".to_owned(),
        inside: inside.clone(),
        files: vec![apache.clone()],
    };
    let parts = IN_MLX.map(|(name, version, licence, package, file)| {
        let mut files = vec![Path::new(LICENCES).join(format!("{file}.txt"))];
        if licence == "Apache-2.0" {
            files.push(apache.clone());
        }
        Other {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            licence,
            package: package.to_owned(),
            inside: inside.clone(),
            files,
        }
    });
    Ok([own, metal].into_iter().chain(parts).collect())
}

/// What zig puts into a program: its runtime, and a part of LLVM with the file of that one's licence below `zig`.
pub fn of_zig(zig: &Path, part: &str, licence: &str) -> Result<[Other; 2]> {
    let version = Some(pinned("packaging/zig.txt", "ziglang")?);
    let runtime = Other {
        name: "zig's runtime".to_owned(),
        version: version.clone(),
        licence: "MIT",
        package: "pypi/ziglang".to_owned(),
        inside: None,
        files: vec![zig.join("LICENSE")],
    };
    let llvm = Other {
        name: format!("LLVM's {part}, as it comes with zig"),
        version,
        licence: "Apache-2.0 WITH LLVM-exception",
        package: format!("generic/zig-{part}"),
        inside: None,
        files: vec![zig.join(licence)],
    };
    Ok([runtime, llvm])
}

/// The version that a list for pip asks for.
fn pinned(list: &str, package: &str) -> Result<String> {
    let text = fs::read_to_string(list).with_context(|| format!("reading `{list}`"))?;
    version_in(&text, package).with_context(|| format!("`{list}` has no line `{package}==VERSION`"))
}

fn version_in(list: &str, package: &str) -> Option<String> {
    let version = list
        .lines()
        .find_map(|line| line.strip_prefix(package)?.strip_prefix("=="))?;
    Some(version.trim_end_matches(['\\', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_for_the_wheel_that_is_packed() {
        let list = fs::read_to_string(crate::root().join(wheel::METAL)).unwrap();
        assert_eq!(version_in(&list, "mlx-metal").as_deref(), Some(LOOKED_AT));
        let list = fs::read_to_string(crate::root().join("packaging/zig.txt")).unwrap();
        assert!(version_in(&list, "ziglang").is_some());
        assert_eq!(
            version_in("a==1 \\\n    --hash=x\nab==2\n", "ab").as_deref(),
            Some("2")
        );
    }

    #[test]
    fn each_part_of_mlx_has_its_notice_and_each_notice_its_part() {
        let folder = crate::root().join(LICENCES);
        let there: BTreeSet<String> = crate::sorted_entries(&folder)
            .unwrap()
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let named: BTreeSet<String> = IN_MLX.iter().map(|part| part.4.to_owned()).collect();
        assert_eq!(there, named);
        // Who wrote it, and what each of these licences says.
        for (name, _, licence, _, file) in IN_MLX {
            let text = fs::read_to_string(folder.join(format!("{file}.txt"))).unwrap();
            let says = match licence {
                "MIT" => "The above copyright notice and this permission notice shall be",
                "BSD-2-Clause" | "BSD-3-Clause" => "Redistributions in binary form must reproduce the above",
                "Zlib" => "The origin of this software must not be misrepresented",
                _ => "http://www.apache.org/licenses/LICENSE-2.0",
            };
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("Copyright") && text.contains(says), "{name}");
            let names = text.contains("Neither the name");
            assert_eq!(names, licence == "BSD-3-Clause", "{name}");
        }
    }
}
