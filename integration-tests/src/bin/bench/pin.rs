//! Pins the measured Envoys to one core, and load and provider to another, so that they do not disturb each other.

use std::sync::OnceLock;

/// The two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cores {
    envoy: usize,
    load: usize,
}

/// The cores that this process may use, before anything is pinned.
static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();

/// Says how the processes are placed.
pub fn described() -> String {
    match cores() {
        Some(Cores { envoy, load }) => {
            format!("Envoy is pinned to core {envoy}, load and provider to core {load}.")
        }
        None => "Nothing is pinned: that needs Linux and two cores. The ratios are higher and vary more."
            .to_owned(),
    }
}

/// What the calling thread starts from now on gets Envoy's core.
pub fn for_envoy() {
    if let Some(cores) = cores() {
        system::pin(cores.envoy);
    }
}

/// The calling thread goes to the core of the load.
pub fn for_load() {
    if let Some(cores) = cores() {
        system::pin(cores.load);
    }
}

/// How many cores this process may use. On Linux only; elsewhere zero.
pub fn allowed() -> usize {
    ALLOWED.get_or_init(system::allowed).len()
}

fn cores() -> Option<Cores> {
    chosen(ALLOWED.get_or_init(system::allowed))
}

/// The last two of the cores that this process may use: the first one often serves interrupts.
fn chosen(allowed: &[usize]) -> Option<Cores> {
    match allowed {
        [.., load, envoy] => Some(Cores { envoy: *envoy, load: *load }),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
mod system {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    const THIS_THREAD: Pid = Pid::from_raw(0);

    pub fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(THIS_THREAD) else { return Vec::new() };
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
    }

    pub fn pin(core: usize) {
        let mut set = CpuSet::new();
        let pinned = set.set(core).and_then(|()| sched_setaffinity(THIS_THREAD, &set));
        pinned.unwrap_or_else(|error| panic!("core {core}: {error}"));
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub fn pin(_: usize) {}
}

#[cfg(test)]
mod tests {
    use super::{Cores, chosen};

    #[test]
    fn one_core_is_not_divided() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[3]), None);
        assert_eq!(chosen(&[0, 1]), Some(Cores { envoy: 1, load: 0 }));
        assert_eq!(chosen(&[0, 2, 5]), Some(Cores { envoy: 5, load: 2 }));
    }
}
