//! A machine with nothing on it, as far as a folder can be one: an archive is unpacked there and asked the demo's question. There is no /proc,
//! no home, no Rust; the user may write nowhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::serve::Server;
use crate::process::{output, run, works};

/// The user in it.
const NOBODY: &str = "65534:65534";
const PICTURE: &str = "models/shapes/pictures/shapes.png";
const TRUTH: &str = "models/shapes/pictures/truth.json";
/// What a shell script may call there, all of it busybox.
const APPLETS: [&str; 17] = [
    "sh",
    "wget",
    "tar",
    "xz",
    "sha256sum",
    "mkdir",
    "mv",
    "rm",
    "ln",
    "uname",
    "mktemp",
    "cat",
    "id",
    "ls",
    "env",
    "readlink",
    "chmod",
];

/// A folder that programs see as the whole system.
struct Machine {
    root: PathBuf,
}

impl Machine {
    /// An empty one, with libraries: their files on this machine, and where they lie there.
    fn new(root: PathBuf, libraries: &[(PathBuf, PathBuf)]) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("clearing `{}`", root.display()))?;
        }
        let machine = Self { root };
        for folder in ["opt", "usr/local/bin", "bin", "dev", "home"] {
            fs::create_dir_all(machine.root.join(folder)).context("making a bare system")?;
        }
        for (library, place) in libraries {
            machine.bring(library, place)?;
        }
        machine.bring(Path::new(PICTURE), Path::new("picture.png"))?;
        Ok(machine)
    }

    /// Copies a file of this machine, or of the project.
    fn bring(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.root.join(to.strip_prefix("/").unwrap_or(to));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
        }
        fs::copy(from, &to).with_context(|| format!("copying `{}`", from.display()))?;
        Ok(())
    }

    /// Runs a command in it, as somebody who owns nothing.
    fn output(&self, words: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
        let command = match is_root()? {
            true => {
                let mut command = Command::new("chroot");
                command.args(["--userspec", NOBODY]);
                command
            }
            // Where the system lets everybody have a name space of their own.
            false => {
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-root-user", "chroot"]);
                command
            }
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tool = which(command.get_program(), &path).context("finding chroot or unshare")?;
        let mut inside = Command::new(tool);
        inside.args(command.get_args()).arg(&self.root).args(words);
        inside
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(variables.iter().copied());
        inside.output().context("starting a program in the bare system")
    }

    /// Runs a command in it, which must succeed; gives what it printed.
    fn says(&self, words: &[&str], variables: &[(&str, &str)]) -> Result<String> {
        let output = self.output(words, variables)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            bail!(
                "in the bare system, {words:?} ended with {}: {}{}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            );
        }
        Ok(text(&output.stdout))
    }

    fn must_answer(&self, words: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        let mut command = words.to_vec();
        command.extend(["run", "shapes", "/picture.png", "--plain"]);
        let (said, expected) = (self.says(&command, variables)?, caption()?);
        if said.trim() != expected {
            bail!("{command:?} answers {:?}, expected {expected:?}", said.trim());
        }
        Ok(())
    }
}

/// Where Debian puts ARM's C library for other machines (`libc6-arm64-cross`), and an emulator of an ARM processor (`qemu-user-static`).
const ARM_LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// Unpacks an archive for ARM and asks the program in it, under qemu.
pub fn answers_under_qemu(archive: &Path, name: &str, place: &Path) -> Result<()> {
    if !Path::new(QEMU).is_file() || !Path::new(ARM_LIBRARIES).is_dir() {
        bail!(
            "programs for ARM are tried with qemu; on Debian: apt-get install qemu-user-static libc6-arm64-cross"
        );
    }
    let names = [
        "ld-linux-aarch64.so.1",
        "libc.so.6",
        "libm.so.6",
        "libdl.so.2",
        "libpthread.so.0",
        "librt.so.1",
    ];
    let libraries = names.map(|name| (Path::new(ARM_LIBRARIES).join(name), Path::new("/lib").join(name)));
    let machine = Machine::new(place.join("bare"), &libraries)?;
    machine.bring(Path::new(QEMU), Path::new("qemu"))?;
    let mut unpack = Command::new("tar");
    run(unpack
        .arg("-xJf")
        .arg(archive)
        .arg("-C")
        .arg(machine.root.join("opt")))?;
    let program = format!("/opt/{name}/bin/monocle");
    print!(
        "{}",
        machine.says(&["/qemu", &program, "--version", "--verbose"], &[])?
    );
    machine.must_answer(&["/qemu", &program], &[])?;
    println!("{name}: it runs in a bare system under qemu");
    Ok(())
}

/// Unpacks an archive and asks the program in it, started in every way: by its name through a link on the PATH, by its whole path, and by one that
/// begins where one stands.
pub fn answers(archive: &Path, name: &str, program: &Path, place: &Path) -> Result<()> {
    let machine = Machine::new(place.join("bare"), &libraries(program)?)?;
    let mut unpack = Command::new("tar");
    run(unpack
        .arg("-xJf")
        .arg(archive)
        .arg("-C")
        .arg(machine.root.join("opt")))?;
    let inside = format!("opt/{name}/bin/monocle");
    let link = machine.root.join("usr/local/bin/monocle");
    crate::process::link(Path::new(&format!("../../../{inside}")), &link)?;
    for words in [&["monocle"][..], &[&format!("/{inside}")], &[&inside]] {
        machine.must_answer(words, &[])?;
    }
    let version = machine.says(&["monocle", "--version", "--verbose"], &[])?;
    print!("{version}");
    println!(
        "{name}: it runs in a bare system, in a folder that is not its user's, without /proc, through a link"
    );
    Ok(())
}

/// Runs the script that installs an archive, fetched from a server on this machine: as it should be, again, and with an archive that was changed on
/// its way.
pub fn installs(served: &Path, version: &str, name: &str, program: &Path, place: &Path) -> Result<()> {
    let busybox = Path::new("/bin/busybox");
    if !works(Command::new(busybox).arg("true")) {
        bail!("scripts are tried with busybox; on Debian: apt-get install busybox-static");
    }
    let machine = Machine::new(place.join("bare-install"), &libraries(program)?)?;
    machine.bring(busybox, busybox)?;
    for applet in APPLETS {
        crate::process::link(Path::new("busybox"), &machine.root.join("bin").join(applet))?;
    }
    fs::write(machine.root.join("dev/null"), "").context("making /dev/null")?;
    fs::create_dir_all(machine.root.join("home/user")).context("making a home")?;
    if is_root()? {
        run(Command::new("chown")
            .args(["-R", NOBODY])
            .arg(machine.root.join("home/user"))
            .arg(machine.root.join("dev")))?;
    }
    let script = served.join("install.sh");
    machine.bring(&script, Path::new("install.sh"))?;

    let server = Server::start(served.to_owned())?;
    let address = server.address();
    let install = [
        ("HOME", "/home/user"),
        ("MONOCLE_FROM", address.as_str()),
        ("MONOCLE_PREFIX", "/home/user/.local"),
    ];
    let program = "/home/user/.local/bin/monocle";
    let sh = ["sh", "/install.sh"];

    // An archive that was changed is refused, and nothing of it is left.
    server.damage(true);
    let refused = machine.output(&sh, &install)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    if refused.status.success() || !said.contains("the archive is not what was released") {
        bail!(
            "install.sh took an archive that was changed: {} {said}",
            refused.status
        );
    }
    let left = machine.says(
        &[
            "ls",
            "-A",
            "/home/user/.local/lib/monocle",
            "/home/user/.local/bin",
        ],
        &[],
    )?;
    if left.contains(version) || left.contains("new") {
        bail!("install.sh left something of an archive that it refused: {left}");
    }
    server.damage(false);
    // Beside an older version, which stays.
    let older = "home/user/.local/lib/monocle/0.0.1/bin";
    machine.says(&["mkdir", "-p", &format!("/{older}")], &[])?;
    for _ in 0..2 {
        let said = machine.says(&sh, &install)?;
        if !said.contains("another version is there, too: /home/user/.local/lib/monocle/0.0.1") {
            bail!("install.sh does not say that another version is there: {said}");
        }
        machine.must_answer(&[program], &[("HOME", "/home/user")])?;
    }
    if !machine.root.join(older).is_dir() {
        bail!("install.sh removed another version");
    }
    print!(
        "{}",
        machine.says(&[program, "doctor"], &[("HOME", "/home/user")])?
    );
    // Not from anywhere.
    let elsewhere = machine.output(
        &sh,
        &[("HOME", "/home/user"), ("MONOCLE_FROM", "http://example.org")],
    )?;
    if elsewhere.status.success() {
        bail!("install.sh fetches without encryption");
    }
    println!("{name}: install.sh installs it, again too, and refuses one that was changed");
    Ok(())
}

/// What is in the picture.
fn caption() -> Result<String> {
    let text = fs::read_to_string(TRUTH).with_context(|| format!("reading `{TRUTH}`"))?;
    let truth: Value = serde_json::from_str(&text).with_context(|| format!("reading `{TRUTH}`"))?;
    let caption = truth["pictures"]["shapes.png"]["caption"].as_str();
    Ok(caption.context("the picture has a caption")?.to_owned())
}

/// The shared libraries that a program of this machine asks for, and what loads them.
fn libraries(program: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let listed = output(Command::new("ldd").arg(program))?;
    let files = listed.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(files
        .map(|file| (PathBuf::from(file), PathBuf::from(file)))
        .collect())
}

fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn which(program: &std::ffi::OsStr, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
