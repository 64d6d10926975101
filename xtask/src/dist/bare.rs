//! A machine with nothing on it, as far as a folder can be one: an archive is unpacked there and asked the demo's question. There is no /proc,
//! no home, no Rust; the user may write nowhere, or where something is installed, in a home only.

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

/// What a bare system is for.
#[derive(Clone, Copy)]
pub enum System<'a> {
    /// This machine's own kind, with the libraries that a program of it asks for.
    Here(&'a Path),
    /// 64-bit ARM, whose programs an emulator runs.
    Arm,
}

/// A folder that programs see as the whole system.
struct Machine {
    root: PathBuf,
    way: Way,
}

/// How a program is started in a bare system.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By root, as somebody who owns nothing.
    Chroot,
    /// In a name space of its own, where the system lets everybody have one: as its root, with all mounted read-only.
    Namespace,
    /// Likewise, and by an emulator.
    Emulated,
}

impl Machine {
    /// An empty one, with libraries.
    fn new(root: PathBuf, system: System<'_>) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("clearing `{}`", root.display()))?;
        }
        let libraries = match system {
            System::Here(program) => libraries(program)?,
            System::Arm => arm_libraries()?,
        };
        let way = match system {
            System::Arm => Way::Emulated,
            System::Here(_) if is_root()? => Way::Chroot,
            System::Here(_) => Way::Namespace,
        };
        let machine = Self { root, way };
        for folder in ["opt", "usr/local/bin", "bin", "dev", "home"] {
            fs::create_dir_all(machine.root.join(folder)).context("making a bare system")?;
        }
        for (library, place) in &libraries {
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
        let mut command;
        if self.way == Way::Chroot {
            command = Command::new("chroot");
            command.args(["--userspec", NOBODY]);
        } else {
            let emulator = if self.way == Way::Emulated { EMULATOR } else { "" };
            let script = format!("{READ_ONLY}{emulator}exec chroot \"$@\"");
            command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tool = which(command.get_program(), &path).context("finding chroot or unshare")?;
        let mut inside = Command::new(tool);
        inside.args(command.get_args()).arg(&self.root).args(words);
        inside
            .env_clear()
            // chroot, too, is looked for there: Debian has it in the folders of the system's own programs.
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
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

/// Runs the script where busybox is not emulated, and would name this machine's processor. Its shell calls its own `uname` before any other program's;
/// a function comes before that.
const ON_ARM: &str = "uname() { case \"$1\" in -m) echo aarch64 ;; *) echo Linux ;; esac; }\n. /install.sh";

/// Where Debian puts ARM's C library for other machines (`libc6-arm64-cross`), and an emulator of an ARM processor (`qemu-user-static`).
const ARM_LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// In a name space that ends with the command: the bare system is mounted over itself, read-only but for the folders that an installation may write
/// to. Whoever is root there owns the files: what holds is the mount, which is tried.
const READ_ONLY: &str = r#"set -e
mount --bind "$1" "$1"
if [ -d "$1/home/user" ]; then
    for folder in home/user dev; do mount --bind "$1/$folder" "$1/$folder"; done
fi
mount -o remount,bind,ro,nosuid,nodev "$1"
if (: > "$1/opt/written") 2>/dev/null; then
    echo "\`$1\` can be written to" >&2
    exit 1
fi
"#;

/// Has the kernel start programs for ARM with qemu, in that name space. (Linux 6.7 or newer. The first bytes are those of an ELF file of 64 bits
/// for this processor, with any ABI, a program of either kind; F: the emulator is opened now, and need not lie in the bare system.)
const EMULATOR: &str = r#"mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":arm:M::$magic:$mask:/usr/bin/qemu-aarch64-static:F" > /proc/sys/fs/binfmt_misc/register
"#;

/// ARM's C library, and where it lies in a system.
fn arm_libraries() -> Result<Vec<(PathBuf, PathBuf)>> {
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
    let paths = names.map(|name| (Path::new(ARM_LIBRARIES).join(name), Path::new("/lib").join(name)));
    Ok(paths.to_vec())
}

/// Unpacks an archive and asks the program in it, started in every way: by its name through a link on the PATH, by its whole path, and by one that
/// begins where one stands.
pub fn answers(archive: &Path, name: &str, system: System<'_>, place: &Path) -> Result<()> {
    let machine = Machine::new(place.join("bare"), system)?;
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
    println!("{name}: it runs in a bare system where it may write nowhere, without /proc, through a link");
    Ok(())
}

/// Runs the script that installs an archive, fetched from a server on this machine: as it should be, again, and with an archive that was changed on
/// its way.
pub fn installs(served: &Path, version: &str, name: &str, system: System<'_>, place: &Path) -> Result<()> {
    let busybox = Path::new("/bin/busybox");
    if !works(Command::new(busybox).arg("true")) {
        bail!("scripts are tried with busybox; on Debian: apt-get install busybox-static");
    }
    let machine = Machine::new(place.join("bare-install"), system)?;
    machine.bring(busybox, busybox)?;
    for applet in APPLETS {
        crate::process::link(Path::new("busybox"), &machine.root.join("bin").join(applet))?;
    }
    fs::write(machine.root.join("dev/null"), "").context("making /dev/null")?;
    fs::create_dir_all(machine.root.join("home/user")).context("making a home")?;
    // Root of a name space owns its home as it is, and could not write to another's.
    if machine.way == Way::Chroot {
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
    let sh = match machine.way {
        Way::Emulated => ["sh", "-c", ON_ARM].to_vec(),
        Way::Chroot | Way::Namespace => ["sh", "/install.sh"].to_vec(),
    };

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

/// A program on the path, or in the folders that only administrators have there.
fn which(program: &std::ffi::OsStr, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Whether everybody may have a name space here, and mount this in it.
    fn mounts(arguments: &[&str]) -> bool {
        let space = ["--user", "--map-root-user", "--mount", "mount"];
        works(Command::new("unshare").args(space).args(arguments))
    }

    /// A bare system with busybox and a home; none where this machine has not what it takes.
    fn machine(name: &str, way: Way) -> Option<Machine> {
        let busybox = Path::new("/bin/busybox");
        if !mounts(&["--bind", "/tmp", "/tmp"]) || !works(Command::new(busybox).arg("true")) {
            eprintln!("passed over: needs name spaces of users, and /bin/busybox");
            return None;
        }
        let root = std::env::temp_dir().join(format!("monocle-bare-{name}-{}", std::process::id()));
        let machine = Machine { root, way };
        for folder in ["opt", "dev", "home/user", "lib"] {
            fs::create_dir_all(machine.root.join(folder)).unwrap();
        }
        machine.bring(busybox, busybox).unwrap();
        Some(machine)
    }

    #[test]
    fn in_a_name_space_only_a_home_can_be_written_to() {
        let Some(machine) = machine("space", Way::Namespace) else {
            return;
        };
        let write = |place: &str| {
            let script = format!(": > {place}");
            let output = machine.output(&["/bin/busybox", "sh", "-c", &script], &[]);
            output.unwrap().status.success()
        };
        let written = ["/home/user/a", "/dev/null", "/opt/a", "/a", "/bin/a"].map(write);
        fs::remove_dir_all(&machine.root).unwrap();
        assert_eq!(written, [true, true, false, false, false]);
    }

    #[test]
    fn programs_for_arm_start_where_there_is_an_emulator() {
        let Ok(libraries) = arm_libraries() else {
            eprintln!("passed over: needs qemu-user-static and libc6-arm64-cross");
            return;
        };
        if !mounts(&["-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]) {
            eprintln!("passed over: needs Linux 6.7, where a name space can have its own list of emulators");
            return;
        }
        let Some(machine) = machine("arm", Way::Emulated) else {
            return;
        };
        for (library, place) in &libraries {
            machine.bring(library, place).unwrap();
        }
        let said = machine.says(&["/lib/ld-linux-aarch64.so.1", "--version"], &[]);
        fs::remove_dir_all(&machine.root).unwrap();
        assert!(
            said.as_deref().is_ok_and(|said| said.contains("ld.so")),
            "{said:?}"
        );
    }
}
