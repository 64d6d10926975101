//! `--isolate`: the last wall. What parses and computes what strangers made runs in a process that has given up what it does not need: it reads
//! the model, the plugins, the manifests and the pictures, writes nothing, has no network, and starts no other program. A crash of it is an error.
//!
//! What was to be fetched was fetched before. On Linux the wall is made of landlock (files, the network), seccomp (system calls) and limits of
//! resources; elsewhere there is none.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, anyhow};
use monocle_runtime::program;

/// Tells a child whose child it is: the number of the process behind which it is to isolate itself.
const PARENT: &str = "MONOCLE_ISOLATED_BY";

/// What a process needs behind the wall.
#[derive(Debug, Default)]
pub struct Needs {
    /// Files and folders that it reads.
    pub read: Vec<PathBuf>,
    /// Bytes that it may have of its own, mapped files apart.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there is no wall"))]
    pub memory: Option<usize>,
}

/// There is no wall here.
#[derive(Debug, thiserror::Error)]
#[error(
    "this system cannot isolate the process: {0}\n\nhint: `--isolate` needs Linux 5.13 or newer with landlock; without it, the sandbox of plugins is all there is"
)]
pub struct NoWall(String);

/// Whether this process was started by [`run_inside`].
pub fn is_inside() -> bool {
    let parent = std::env::var(PARENT).ok().and_then(|number| number.parse().ok());
    parent == Some(std::os::unix::process::parent_id())
}

/// Starts this program once more, with the same arguments and streams, and ends as it ends: with its exit code, which has said what there was to
/// say, or with an error where a signal ended it.
pub fn run_inside() -> anyhow::Result<()> {
    use std::os::unix::process::ExitStatusExt;

    let program = program::own_file()?;
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        .status()
        .context("cannot start the isolated process")?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => std::process::exit(code),
        (None, Some(signal)) => Err(anyhow!(
            "the isolated process was ended by signal {signal}{}: nothing but this request was harmed",
            match signal {
                libc::SIGKILL => " (most likely it ran out of memory)",
                libc::SIGABRT => " (it gave up, most likely for want of memory)",
                libc::SIGSYS => " (it did what it may not)",
                _ => "",
            }
        )),
        (None, None) => Err(anyhow!("the isolated process ended without a word")),
    }
}

#[cfg(not(target_os = "linux"))]
mod wall {
    use super::{Needs, NoWall};

    /// There is none.
    pub fn enclose(_needs: &Needs) -> Result<(), NoWall> {
        Err(NoWall("only Linux's landlock and seccomp are used".to_owned()))
    }

    /// Whether a process can be enclosed here.
    pub fn is_available() -> bool {
        false
    }

    /// The child outlives its parent: its standard input ends with it.
    pub fn end_with_the_parent() {}
}

#[cfg(target_os = "linux")]
mod wall {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus, Scope, path_beneath_rules,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use super::{Needs, NoWall};

    /// What any process reads: about itself and the machine, and the time zone.
    const ALWAYS: [&str; 5] = [
        "/proc",
        "/sys",
        "/dev/null",
        "/etc/localtime",
        "/usr/share/zoneinfo",
    ];
    /// The newest rules that are known here; an older kernel keeps those that it knows.
    const RULES: ABI = ABI::V6;
    /// Memory beside what is counted: code, tables, the tokenizer, what allocators keep.
    const BESIDE: usize = 4 << 30;
    /// How often it is looked whether other threads have ended.
    const LOOKS: u32 = 50;

    /// Gives up, for good, what is not needed. Landlock binds the calling thread and those that it starts, so there may be no other yet.
    pub fn enclose(needs: &Needs) -> Result<(), NoWall> {
        alone()?;
        limit(needs.memory).map_err(|error| NoWall(error.to_string()))?;
        keep_files(&needs.read)?;
        keep_calls().map_err(|error| NoWall(error.to_string()))
    }

    /// Whether a process can be enclosed here.
    pub fn is_available() -> bool {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = rules.handle_access(AccessFs::from_all(ABI::V1));
        rules.and_then(Ruleset::create).is_ok()
    }

    /// This process ends when its parent does.
    pub fn end_with_the_parent() {
        // SAFETY: it takes two numbers, and sets one of the process's own attributes.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    }

    fn alone() -> Result<(), NoWall> {
        let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        // Those of a download may be on their way out.
        for _ in 0..LOOKS {
            if threads() == 1 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(NoWall(format!(
            "it has {} threads already, expected one",
            threads()
        )))
    }

    /// No core dumps; no more memory than was counted and some. Mapped files do not count, nor does what plugins' sandboxes only reserve.
    fn limit(memory: Option<usize>) -> std::io::Result<()> {
        let bytes = |bytes: usize| libc::rlimit {
            rlim_cur: bytes as libc::rlim_t,
            rlim_max: bytes as libc::rlim_t,
        };
        let data = memory.map(|memory| (libc::RLIMIT_DATA, bytes(memory.saturating_add(BESIDE))));
        for (resource, limit) in [Some((libc::RLIMIT_CORE, bytes(0))), data].into_iter().flatten() {
            // SAFETY: the limits are read only, and live until the call is over.
            if unsafe { libc::setrlimit(resource, &limit) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    }

    fn keep_files(read: &[impl AsRef<Path>]) -> Result<(), NoWall> {
        let wrong = |error: landlock::RulesetError| NoWall(error.to_string());
        let paths = read.iter().map(AsRef::as_ref).chain(ALWAYS.map(Path::new));
        let paths: Vec<&Path> = paths.filter(|path| path.exists()).collect();
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(RULES))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(RULES)))
            .and_then(|rules| rules.scope(Scope::from_all(RULES)))
            .and_then(Ruleset::create)
            .map_err(wrong)?
            .add_rules(path_beneath_rules(paths, AccessFs::ReadFile | AccessFs::ReadDir))
            .and_then(|rules| rules.restrict_self())
            .map_err(wrong)?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err(NoWall("its kernel has no landlock".to_owned())),
            _ => Ok(()),
        }
    }

    /// No sockets, no other programs, no looking into other processes, and nothing that goes around this filter.
    fn keep_calls() -> Result<(), seccompiler::Error> {
        let refused = DENIED.iter().map(|number| (*number, Vec::new()));
        let filter = SeccompFilter::new(
            BTreeMap::from_iter(refused),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            std::env::consts::ARCH.try_into()?,
        )?;
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)
    }

    const DENIED: &[libc::c_long] = &[
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_execve,
        libc::SYS_execveat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        // It does what others do, and no filter sees it.
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_personality,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
    ];
}

pub use wall::{enclose, end_with_the_parent, is_available};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use super::*;

    const NAME: &str = "isolate::tests::behind_the_wall_there_is_no_network_no_writing_and_no_other_program";
    /// Tells the test, started once more, that it is to go behind the wall: the folder that it may read.
    const INSIDE: &str = "MONOCLE_TEST_INSIDE";

    /// This test started once more forks, for `enclose` asks for a process of one thread, and tests run on a thread of their own.
    #[test]
    fn behind_the_wall_there_is_no_network_no_writing_and_no_other_program() {
        if let Some(folder) = std::env::var_os(INSIDE) {
            // SAFETY: no other thread does anything but wait for this one, so the child may use memory and the standard output as it likes.
            let child = unsafe { libc::fork() };
            if child == 0 {
                println!("{}", inside(Path::new(&folder)));
                std::process::exit(0);
            }
            let mut status = 0;
            // SAFETY: the child is this process' own, and the number is there to be written to.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            std::process::exit(i32::from(status != 0));
        }
        let folder = std::env::temp_dir().join(format!("monocle-wall-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("readable"), "read").unwrap();
        // Somebody who would answer.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(INSIDE, &folder)
            .env("MONOCLE_TEST_ADDRESS", listener.local_addr().unwrap().to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let tried = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name));
        if let Some(reason) = tried("no wall: ") {
            assert!(!is_available(), "{reason}");
            println!("not tried: {reason}");
            return;
        }
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(tried("reading what it may: "), Some("fine"), "{said}");
        for name in [
            "reading another file",
            "writing",
            "making a folder",
            "removing",
            "starting a program",
            "connecting",
            "listening",
            "datagrams",
            "sockets of the system",
        ] {
            assert_eq!(tried(&format!("{name}: ")), Some("refused"), "{name}: {said}");
        }
        assert_eq!(std::fs::read_to_string(folder.join("readable")).unwrap(), "read");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// What comes of each attempt, a line each.
    fn inside(folder: &Path) -> String {
        let address = std::env::var("MONOCLE_TEST_ADDRESS").unwrap_or_default();
        let needs = Needs {
            read: vec![folder.to_owned()],
            memory: None,
        };
        if let Err(error) = enclose(&needs) {
            return format!("no wall: {}", error.0);
        }
        let readable = folder.join("readable");
        let tried = [
            ("reading what it may", std::fs::read(&readable).map(drop)),
            ("reading another file", std::fs::read("/etc/passwd").map(drop)),
            ("writing", std::fs::write(&readable, "written")),
            ("making a folder", std::fs::create_dir(folder.join("made"))),
            ("removing", std::fs::remove_file(&readable)),
            ("starting a program", Command::new("/bin/true").status().map(drop)),
            ("connecting", TcpStream::connect(&address).map(drop)),
            ("listening", TcpListener::bind("127.0.0.1:0").map(drop)),
            ("datagrams", UdpSocket::bind("127.0.0.1:0").map(drop)),
            ("sockets of the system", UnixStream::pair().map(drop)),
        ];
        let lines = tried.map(|(name, outcome)| match outcome {
            Ok(()) => format!("\n{name}: fine"),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => format!("\n{name}: refused"),
            Err(error) => format!("\n{name}: {error}"),
        });
        lines.concat()
    }
}
