//! What a figure was measured on: without it no two of them can be compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// Beginnings of the flags that decide which kernels run.
const VECTOR_FLAGS: [&str; 16] = [
    "avx", "fma", "f16c", "sse4", "gfni", "amx", "vnni", "asimd", "neon", "fphp", "sve", "sme", "i8mm",
    "bf16", "dotprod", "fp16",
];

/// A machine as it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: Option<String>,
    /// All that the processor says it can do, in its own order.
    pub flags: Vec<String>,
    /// Threads that this process may run at once.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// How the system chooses the processor's clock.
    pub governor: Option<String>,
    /// Whether the system gives huge pages: `always`, `madvise` (to those who ask) or `never`.
    pub huge_pages: Option<String>,
    /// The system's name, version and kind of processor.
    pub system: Option<String>,
    /// Processes that waited for a core, on average over the minute before.
    pub load_average: Option<f64>,
}

impl Machine {
    /// The one that this process runs on.
    pub fn here() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let optional = said(&["sysctl", "-a"]).filter(|_| processors.is_empty());
        let (processor, flags, memory_bytes) = match &optional {
            Some(sysctl) => (
                value(sysctl, "machdep.cpu.brand_string"),
                flags_of_sysctl(sysctl),
                value(sysctl, "hw.memsize").and_then(|bytes| bytes.parse().ok()),
            ),
            None => (
                processor_of_linux(&processors),
                flags_of_linux(&processors),
                file("/proc/meminfo").and_then(|memory| memory_of_linux(&memory)),
            ),
        };
        Self {
            processor,
            flags,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes,
            governor: file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            huge_pages: file("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|all| chosen(&all)),
            system: said(&["uname", "-srm"]),
            load_average: file("/proc/loadavg")
                .or_else(|| value(optional.as_deref()?, "vm.loadavg"))
                .and_then(|averages| first_number(&averages)),
        }
    }

    /// The flags that decide which kernels run.
    pub fn vector_flags(&self) -> Vec<&str> {
        // `smep` protects memory; all else that begins so is of ARM's matrix extension.
        let decides = |flag: &&str| {
            let flag = flag.to_ascii_lowercase();
            let name = flag.trim_start_matches("feat_");
            name != "smep" && VECTOR_FLAGS.iter().any(|vector| name.starts_with(vector))
        };
        self.flags.iter().map(String::as_str).filter(decides).collect()
    }
}

/// What a folder's repository is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// Whether files differ from it.
    pub changed: bool,
}

impl Revision {
    /// Of the repository that a folder is in; `None` where there is none, or no git.
    pub fn of(folder: &Path) -> Option<Self> {
        let folder = folder.to_str()?;
        Some(Self {
            commit: said(&["git", "-C", folder, "rev-parse", "HEAD"])?,
            changed: !said(&["git", "-C", folder, "status", "--porcelain"])?.is_empty(),
        })
    }
}

/// What a program prints, if it ends well.
fn said(words: &[&str]) -> Option<String> {
    let output = Command::new(words.first()?).args(words.get(1..)?).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn file(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of the first line `key: value` or `key<tab>: value`.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim_end() == key).then(|| value.trim().to_owned())
    })
}

fn first_number(text: &str) -> Option<f64> {
    text.split([' ', '{', '}'])
        .find(|word| !word.is_empty())?
        .parse()
        .ok()
}

/// The word in brackets.
fn chosen(all: &str) -> Option<String> {
    let (_, rest) = all.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// A name, or on ARM, which has none, the numbers of the maker and the part.
fn processor_of_linux(processors: &str) -> Option<String> {
    value(processors, "model name").or_else(|| {
        let maker = value(processors, "CPU implementer")?;
        let part = value(processors, "CPU part")?;
        Some(format!("ARM implementer {maker}, part {part}"))
    })
}

fn flags_of_linux(processors: &str) -> Vec<String> {
    let flags = value(processors, "flags").or_else(|| value(processors, "Features"));
    words(flags.as_deref().unwrap_or_default())
}

fn memory_of_linux(memory: &str) -> Option<u64> {
    let total = value(memory, "MemTotal")?;
    total.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// On ARM `hw.optional.arm.FEAT_..: 1`, on Intel lists of names.
fn flags_of_sysctl(sysctl: &str) -> Vec<String> {
    let mut flags = Vec::new();
    for key in [
        "machdep.cpu.features",
        "machdep.cpu.leaf7_features",
        "machdep.cpu.extfeatures",
    ] {
        flags.extend(words(&value(sysctl, key).unwrap_or_default()));
    }
    flags.extend(sysctl.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.strip_prefix("hw.optional.")?;
        let name = name.strip_prefix("arm.").unwrap_or(name);
        (value.trim() == "1").then(|| name.to_owned())
    }));
    flags
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_on_x86() {
        let processors = "processor\t: 0\nmodel name\t: Some Processor @ 2.0GHz: fast\nflags\t\t: fpu avx2 fma f16c avx512_vnni\n\n\
                          processor\t: 1\nmodel name\t: Another\nflags\t\t: fpu\n";
        assert_eq!(
            processor_of_linux(processors).unwrap(),
            "Some Processor @ 2.0GHz: fast"
        );
        assert_eq!(
            flags_of_linux(processors),
            ["fpu", "avx2", "fma", "f16c", "avx512_vnni"]
        );
        assert_eq!(
            memory_of_linux("MemTotal:       24000000 kB\nMemFree: 1 kB\n"),
            Some(24_576_000_000)
        );
        assert_eq!(chosen("always [madvise] never").unwrap(), "madvise");
        assert_eq!(first_number("1.60 0.55 0.20 1/99 7"), Some(1.6));
    }

    #[test]
    fn linux_on_arm() {
        let processors =
            "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(
            processor_of_linux(processors).unwrap(),
            "ARM implementer 0x41, part 0xd0c"
        );
        assert_eq!(flags_of_linux(processors), ["fp", "asimd", "asimddp", "i8mm"]);
    }

    #[test]
    fn macos() {
        let arm = "hw.memsize: 17179869184\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_SME: 0\nhw.optional.neon: 1\n\
                   machdep.cpu.brand_string: Apple M1\nvm.loadavg: { 1.25 1.50 1.75 }\n";
        assert_eq!(flags_of_sysctl(arm), ["FEAT_DotProd", "neon"]);
        assert_eq!(value(arm, "machdep.cpu.brand_string").unwrap(), "Apple M1");
        assert_eq!(first_number(&value(arm, "vm.loadavg").unwrap()), Some(1.25));
        let intel = "machdep.cpu.features: FPU SSE4.2 FMA\nmachdep.cpu.leaf7_features: AVX2 BMI2\n";
        assert_eq!(flags_of_sysctl(intel), ["FPU", "SSE4.2", "FMA", "AVX2", "BMI2"]);
    }

    #[test]
    fn flags_that_decide() {
        let machine = Machine {
            flags: words("fpu sse2 avx2 AVX512F fma f16c rdrand smep FEAT_DotProd FEAT_LSE FEAT_SME asimddp"),
            ..Machine::here()
        };
        assert_eq!(
            machine.vector_flags(),
            [
                "avx2",
                "AVX512F",
                "fma",
                "f16c",
                "FEAT_DotProd",
                "FEAT_SME",
                "asimddp"
            ]
        );
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::here();
        assert!(!machine.flags.is_empty(), "{machine:?}");
        assert!(
            machine.processor.is_some() && machine.memory_bytes.is_some(),
            "{machine:?}"
        );
    }

    #[test]
    fn a_folder_without_a_repository_has_no_revision() {
        assert_eq!(Revision::of(Path::new("/")), None);
    }
}
