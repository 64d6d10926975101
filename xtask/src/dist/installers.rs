//! What installs archives, written for those that lie in a folder: `install.sh`, Homebrew's formula, and the list of their hashes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::VERSION;
use super::archive::sha256;

const SCRIPT: &str = "install.sh";
const FORMULA: &str = "monocle.rb";
/// As `sha256sum -c` reads it.
const SUMS: &str = "SHA256SUMS";

/// An archive of this release.
#[derive(Debug, PartialEq)]
struct Archive {
    triple: String,
    hash: String,
}

impl Archive {
    /// The file's name.
    fn file(&self) -> String {
        format!("monocle-{VERSION}-{}.tar.xz", self.triple)
    }
}

/// Writes them for all archives of this version in a folder, whichever run made them. `from`: the address that they are fetched from, or nothing:
/// then who runs the script names it, and there is no formula.
pub fn write(place: &Path, from: &str) -> Result<()> {
    let archives = released(place)?;
    let put = |name: &str, text: String| {
        let path = place.join(name);
        fs::write(&path, text).with_context(|| format!("writing `{}`", path.display()))
    };
    let template = |name: &str| {
        let path = Path::new("packaging").join(name);
        fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))
    };
    put(SUMS, sums(&archives))?;
    put(SCRIPT, script(&template(SCRIPT)?, from, &archives))?;
    let triples: Vec<&str> = archives.iter().map(|one| one.triple.as_str()).collect();
    println!("{SCRIPT} and {SUMS} are for {}", triples.join(", "));
    if !from.is_empty() {
        return put(FORMULA, formula(&template(FORMULA)?, from, &archives));
    }
    println!(
        "there is no {FORMULA}, and {SCRIPT} asks for MONOCLE_FROM: `--from ADDRESS` says where the archives will be"
    );
    let old = place.join(FORMULA);
    match fs::remove_file(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the old `{}`", old.display()))
        }
        _ => Ok(()),
    }
}

/// The archives in a folder, as their `.sha256` files name them, in the order of their names.
fn released(place: &Path) -> Result<Vec<Archive>> {
    let start = format!("monocle-{VERSION}-");
    let mut archives = Vec::new();
    for path in crate::sorted_entries(place)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let triple = name
            .strip_prefix(&start)
            .and_then(|name| name.strip_suffix(".tar.xz.sha256"));
        let Some(triple) = triple else { continue };
        let said = fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let archive = Archive {
            triple: triple.to_owned(),
            hash: said.split_whitespace().next().unwrap_or_default().to_owned(),
        };
        let file = place.join(archive.file());
        let bytes = fs::read(&file).with_context(|| format!("reading `{}`", file.display()))?;
        let found = sha256(&bytes);
        if found != archive.hash {
            bail!(
                "`{}` has the hash {found}, and `{}` says {}: make the archive again",
                file.display(),
                path.display(),
                archive.hash
            );
        }
        archives.push(archive);
    }
    if archives.is_empty() {
        bail!("`{}` holds no archive of version {VERSION}", place.display());
    }
    Ok(archives)
}

fn sums(archives: &[Archive]) -> String {
    let line = |one: &Archive| format!("{}  {}\n", one.hash, one.file());
    archives.iter().map(line).collect()
}

fn script(template: &str, from: &str, archives: &[Archive]) -> String {
    let line = |one: &Archive| format!("{} {}\n", one.triple, one.hash);
    filled(template, from, &archives.iter().map(line).collect::<String>())
}

fn formula(template: &str, from: &str, archives: &[Archive]) -> String {
    let block = |one: &Archive| block(one, from);
    filled(template, from, &archives.iter().map(block).collect::<String>())
}

fn filled(template: &str, from: &str, archives: &str) -> String {
    let text = template.replace("@VERSION@", VERSION).replace("@FROM@", from);
    // Its line ends where the list's last does.
    text.replace("@ARCHIVES@\n", archives)
}

/// A system's part of the formula.
fn block(archive: &Archive, from: &str) -> String {
    let (system, needs) = if archive.triple.contains("apple") {
        // Of Macs, there is an archive for Apple's processors only.
        (
            "macos",
            "    depends_on arch: :arm64\n    depends_on macos: :sonoma\n",
        )
    } else {
        ("linux", "")
    };
    let processor = if archive.triple.starts_with("aarch64") {
        "arm"
    } else {
        "intel"
    };
    format!(
        "  on_{system} do\n{needs}    on_{processor} do\n      url \"{from}/{}\"\n      sha256 \"{}\"\n    end\n  end\n",
        archive.file(),
        archive.hash
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::super::{COMPLETIONS, MANUALS, TRIPLES};
    use super::*;
    use crate::process::works;

    const FROM: &str = "https://example.org/monocle";

    fn template(name: &str) -> String {
        fs::read_to_string(crate::root().join("packaging").join(name)).unwrap()
    }

    /// A folder with archives of this version: each holds its triple's name.
    fn folder(name: &str, triples: &[&str]) -> PathBuf {
        let place = std::env::temp_dir().join(format!("monocle-installers-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        for triple in triples {
            let file = format!("monocle-{VERSION}-{triple}.tar.xz");
            fs::write(place.join(&file), triple).unwrap();
            let sum = format!("{}  {file}\n", sha256(triple.as_bytes()));
            fs::write(place.join(format!("{file}.sha256")), sum).unwrap();
        }
        place
    }

    /// Whether a program takes a text; true where there is no such program.
    fn is_taken(program: &str, arguments: &[&str], text: &str) -> bool {
        let there = format!("command -v {program}");
        if !works(Command::new("sh").args(["-c", &there])) {
            eprintln!("passed over: no `{program}` is here");
            return true;
        }
        let mut command = Command::new(program);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    #[test]
    fn they_are_for_all_archives_that_are_there_and_for_no_others() {
        let place = folder("all", &TRIPLES[..2]);
        let found = released(&place).unwrap();
        let mut triples: Vec<&str> = found.iter().map(|one| one.triple.as_str()).collect();
        triples.sort_unstable();
        assert_eq!(triples, [TRIPLES[1], TRIPLES[0]]);
        // Another version's, and one that is being made.
        fs::write(place.join("monocle-0.0.0-old.tar.xz.sha256"), "00  x\n").unwrap();
        fs::write(place.join(format!("monocle-{VERSION}-new.tar.xz")), "x").unwrap();
        assert_eq!(released(&place).unwrap(), found);
        fs::write(place.join(found[0].file()), "another").unwrap();
        let error = released(&place).unwrap_err().to_string();
        assert!(error.contains("make the archive again"), "{error}");
        fs::remove_dir_all(&place).unwrap();
        let place = folder("none", &[]);
        assert!(released(&place).is_err());
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn the_formula_is_ruby_with_each_archive_s_address_and_hash() {
        let place = folder("formula", &TRIPLES);
        let archives = released(&place).unwrap();
        let text = formula(&template(FORMULA), FROM, &archives);
        assert!(!text.contains('@'), "{text}");
        assert!(is_taken("ruby", &["-c"], &text), "{text}");
        let quoted = |start: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix(start));
            lines.map(|value| value.trim_matches('"').to_owned()).collect()
        };
        // Each address is that of a file in the folder, with its bytes' hash.
        let (urls, hashes) = (quoted("url "), quoted("sha256 "));
        assert_eq!(urls.len(), TRIPLES.len());
        for (url, hash) in urls.iter().zip(&hashes) {
            let file = url.strip_prefix(&format!("{FROM}/")).expect("it begins so");
            assert_eq!(*hash, sha256(&fs::read(place.join(file)).unwrap()), "{url}");
        }
        assert_eq!(quoted("homepage "), [FROM]);
        assert_eq!(quoted("version "), [VERSION]);
        assert_eq!(text.matches("depends_on macos: :sonoma").count(), 1);
        // What it links is where archives have it.
        for (_, path) in COMPLETIONS {
            assert!(text.contains(&format!("libexec/\"{path}\"")), "{path}");
        }
        assert!(text.contains(&format!("\"{MANUALS}/*.1\"")), "{text}");
        let truth = fs::read_to_string(crate::root().join("models/shapes/pictures/truth.json")).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
        let caption = truth["pictures"]["shapes.png"]["caption"].as_str().unwrap();
        assert!(text.contains("assert_match \"triangle\"") && caption.contains("triangle"));
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn the_script_is_one_for_shells_and_knows_each_archive() {
        let place = folder("script", &TRIPLES);
        let archives = released(&place).unwrap();
        let text = script(&template(SCRIPT), FROM, &archives);
        assert!(is_taken("sh", &["-n"], &text), "{text}");
        for placeholder in ["@VERSION@", "@FROM@", "@ARCHIVES@"] {
            assert!(!text.contains(placeholder), "{text}");
        }
        for one in &archives {
            assert!(text.contains(&format!("\n{} {}\n", one.triple, one.hash)));
            // Some system has it.
            assert!(
                text.contains(&format!("echo {} ;;", one.triple)),
                "{}",
                one.triple
            );
            assert!(sums(&archives).contains(&format!("{}  {}\n", one.hash, one.file())));
        }
        fs::remove_dir_all(&place).unwrap();
    }

    /// The script where other programs say what system it is: each is a line for a shell. Nothing can fetch anything there.
    #[cfg(target_os = "linux")]
    fn said_on(name: &str, programs: &[(&str, &str)]) -> String {
        let place = folder(name, &TRIPLES);
        let text = script(&template(SCRIPT), FROM, &released(&place).unwrap());
        fs::write(place.join(SCRIPT), text).unwrap();
        let path = place.join("bin");
        fs::create_dir_all(&path).unwrap();
        for tool in ["mkdir", "rm"] {
            crate::process::link(&Path::new("/bin").join(tool), &path.join(tool)).unwrap();
        }
        for (program, line) in programs {
            let file = path.join(program);
            fs::write(&file, format!("#!/bin/sh\n{line}\n")).unwrap();
            crate::process::make_executable(&file).unwrap();
        }
        let output = Command::new("/bin/sh")
            .arg(place.join(SCRIPT))
            .env_clear()
            .env("PATH", &path)
            .env("MONOCLE_PREFIX", place.join("prefix"))
            .output()
            .unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(!output.status.success());
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8(all).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_script_says_what_a_system_lacks_before_it_fetches_anything() {
        const INTEL: (&str, &str) = ("uname", "case $1 in -m) echo x86_64 ;; *) echo Darwin ;; esac");
        const LINUX: (&str, &str) = ("uname", "case $1 in -m) echo x86_64 ;; *) echo Linux ;; esac");
        const BSD_TAR: (&str, &str) = ("tar", "echo 'bsdtar 3.5.3 - libarchive 3.5.3'");
        const GNU_TAR: (&str, &str) = ("tar", "echo 'tar (GNU tar) 1.34'");
        const NEW: (&str, &str) = ("sw_vers", "echo 14.5");
        const OLD: (&str, &str) = ("sw_vers", "echo 13.6.1");
        const ROSETTA: (&str, &str) = ("sysctl", "echo 1");
        const NO_ROSETTA: (&str, &str) = ("sysctl", "exit 1");
        for (name, programs, expected) in [
            (
                "rosetta",
                &[INTEL, BSD_TAR, NEW, ROSETTA][..],
                "-aarch64-apple-darwin.tar.xz\nerror: neither curl nor wget",
            ),
            ("old", &[INTEL, BSD_TAR, OLD, ROSETTA], "and this is macOS 13.6.1"),
            (
                "intel",
                &[INTEL, BSD_TAR, NEW, NO_ROSETTA],
                "there is no archive for Darwin on x86_64",
            ),
            ("no-xz", &[LINUX, GNU_TAR], "xz is missing"),
            ("no-tar", &[LINUX], "tar is missing"),
        ] {
            let said = said_on(name, programs);
            let is_fetching = said.contains("fetching");
            assert_eq!(is_fetching, name == "rosetta", "{name}: {said}");
            assert!(said.contains(expected), "{name}: {said}");
        }
    }

    /// A container file, as far as it can be looked at without what builds one.
    #[test]
    fn the_container_file_unpacks_an_archive_and_starts_its_program_as_nobody() {
        let text = template("Containerfile");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        let text = lines.join("\n").replace("\\\n", " ");
        let steps: Vec<(&str, &str)> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.split_once(' ').expect("an instruction has arguments"))
            .collect();
        let known = BTreeSet::from([
            "FROM",
            "ARG",
            "RUN",
            "ADD",
            "USER",
            "ENV",
            "WORKDIR",
            "ENTRYPOINT",
            "CMD",
        ]);
        for (step, _) in &steps {
            assert!(known.contains(step), "{step}");
        }
        let one = |wanted: &str| {
            let found: Vec<&str> = steps
                .iter()
                .filter(|step| step.0 == wanted)
                .map(|step| step.1)
                .collect();
            assert_eq!(found.len(), 1, "{wanted}");
            found[0]
        };
        assert_eq!(steps[0].0, "FROM");
        assert_eq!(one("ARG"), "ARCHIVE");
        assert_eq!(one("ADD"), "${ARCHIVE}.tar.xz /opt/");
        let list = |wanted: &str| serde_json::from_str::<Vec<String>>(one(wanted)).unwrap();
        let entry = list("ENTRYPOINT");
        let linked = format!("ln -s /opt/${{ARCHIVE}}/bin/monocle {}", entry[0]);
        let link = steps.iter().position(|step| *step == ("RUN", linked.as_str()));
        let added = steps.iter().position(|step| step.0 == "ADD");
        assert!(link > added, "{linked}");
        assert!(!list("CMD").is_empty());
        // Nothing is done as root after it, and it is no name, which a container's starter could not tell from root's.
        let user = steps.iter().position(|step| step.0 == "USER").unwrap();
        assert!(one("USER").parse::<u32>().is_ok_and(|number| number > 0));
        assert!(steps[user..].iter().all(|step| !["RUN", "ADD"].contains(&step.0)));
        let made = format!("--uid {} ", one("USER"));
        assert!(text.contains(&made), "{made}");
    }
}
