//! How busy the machine was with something else.

use std::fs;
use std::time::Instant;

/// Linux counts processor time for user space in hundredths of a second on all processors that Monocle runs on (time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time up to a moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Instant,
    ticks: Option<Ticks>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// Of all processes.
    busy: u64,
    /// Taken by other virtual machines.
    stolen: u64,
    /// Of this process and of its children that have ended.
    own: u64,
}

/// What others took between two moments, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Others {
    /// Other processes.
    pub busy: f64,
    /// Other virtual machines.
    pub stolen: f64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let ticks = || {
            let (busy, stolen) = machine_ticks(&read("/proc/stat")?)?;
            let own = own_ticks(&read("/proc/self/stat")?)?;
            Some(Ticks { busy, stolen, own })
        };
        Self {
            at: Instant::now(),
            ticks: ticks(),
        }
    }

    /// What others took from an earlier moment until this one; `None` where the system does not say, or the time was too short to tell.
    pub fn since(&self, earlier: &Self) -> Option<Others> {
        let (now, before) = (self.ticks?, earlier.ticks?);
        let capacity = self.at.duration_since(earlier.at).as_secs_f64() * TICKS_PER_SECOND;
        if capacity < 1.0 {
            return None;
        }
        let between = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let busy = between(now.busy, before.busy) - between(now.own, before.own);
        Some(Others {
            busy: busy.max(0.0) / capacity,
            stolen: between(now.stolen, before.stolen) / capacity,
        })
    }
}

/// Busy and stolen ticks of all cores: the first line of `/proc/stat` (proc_stat(5)).
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let &[user, nice, system, _idle, _waiting, interrupts, soft, stolen, ..] = ticks.as_slice() else {
        return None;
    };
    Some((user + nice + system + interrupts + soft, stolen))
}

/// User and system ticks of a process and of the children that it has waited for: fields 14 to 17 of `/proc/PID/stat`
/// (proc_pid_stat(5)). The second field is a name in brackets, which may hold blanks and brackets.
fn own_ticks(stat: &str) -> Option<u64> {
    let fields = stat.rsplit_once(')')?.1;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ticks_as_the_manual_lists_them() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine_ticks(stat), Some((163, 8)));
        assert_eq!(machine_ticks("cpu  1 2 3\n"), None);
        assert_eq!(machine_ticks(""), None);
        let stat = "42 (a ) name) S 1 2 3 4 5 6 7 8 9 10 11 22 33 44 55 20 0";
        assert_eq!(own_ticks(stat), Some(11 + 22 + 33 + 44));
        assert_eq!(own_ticks("42 (cut) S 1 2 3 4 5 6 7 8 9 10 11 22"), None);
    }

    #[test]
    fn others_are_all_but_oneself() {
        let before = Moment {
            at: Instant::now(),
            ticks: Some(Ticks {
                busy: 1000,
                stolen: 50,
                own: 300,
            }),
        };
        // Two seconds later: 3 s of processor time, 1 s of it one's own, 0.5 s stolen.
        let after = |own| Moment {
            at: before.at + Duration::from_secs(2),
            ticks: Some(Ticks {
                busy: 1300,
                stolen: 100,
                own,
            }),
        };
        assert_eq!(
            after(400).since(&before),
            Some(Others {
                busy: 1.0,
                stolen: 0.25
            })
        );
        // Clocks that disagree by a tick.
        assert_eq!(after(601).since(&before).unwrap().busy, 0.0);
        assert_eq!(before.since(&before), None);
    }
}
