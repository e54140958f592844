//! Steps through the machine instructions of one thread of another process, by `ptrace`. Only for Linux on x86-64.

use crate::trace::Step;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use ptraced::Stepper;

/// Elsewhere there is nothing to step with.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub struct Stepper;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
impl Stepper {
    pub fn start(_: i32) -> Result<Self, String> {
        Err("machine instructions are counted only on Linux with x86-64".to_owned())
    }

    pub fn stop(&self) {}

    pub fn steps(self) -> Result<Vec<Step>, String> {
        Ok(Vec::new())
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ptraced {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    use nix::errno::Errno;
    use nix::sys::ptrace::{self, Options};
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::Step;
    use crate::pin;

    /// The most steps of one trace. A request of the loop takes about two million, with the ticks that fall into it.
    const MAX_STEPS: usize = 20_000_000;

    /// A thread that steps through another process's thread, from [`Stepper::start`] to [`Stepper::stop`].
    pub struct Stepper {
        stop: Arc<AtomicBool>,
        tracer: JoinHandle<Result<Vec<Step>, Errno>>,
    }

    impl Stepper {
        /// Begins to step. Returns once the thread is under control, or why it cannot be.
        pub fn start(thread: i32) -> Result<Self, String> {
            let stop = Arc::new(AtomicBool::new(false));
            let (attached, wait) = mpsc::channel();
            let tracer = std::thread::spawn({
                let stop = Arc::clone(&stop);
                move || trace(Pid::from_raw(thread), &stop, &attached)
            });
            let stepper = Self { stop, tracer };
            match wait.recv() {
                Ok(()) => Ok(stepper),
                Err(_) => Err(stepper.steps().err().unwrap_or_else(|| "the tracer ended".to_owned())),
            }
        }

        /// Asks the tracer to end. It does so at the thread's next instruction, so a sleeping thread has to be woken.
        pub fn stop(&self) {
            self.stop.store(true, Ordering::Relaxed);
        }

        /// Waits for the end. Returns the steps.
        pub fn steps(self) -> Result<Vec<Step>, String> {
            let ended = self.tracer.join().map_err(|_| "the tracer panicked".to_owned())?;
            ended.map_err(|error| match error {
                Errno::EPERM => {
                    "ptrace is forbidden here, so machine instructions are not counted".to_owned()
                }
                error => format!("ptrace: {error}"),
            })
        }
    }

    /// Records every step until `stop`, then lets the thread go.
    fn trace(thread: Pid, stop: &AtomicBool, attached: &mpsc::Sender<()>) -> Result<Vec<Step>, Errno> {
        // The two threads take turns. To wake one on another core takes several times as long.
        pin::for_envoy();
        ptrace::seize(thread, Options::empty())?;
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        // The receiver waits for this.
        let _ = attached.send(());
        let mut steps = Vec::new();
        let mut signal = None;
        while !stop.load(Ordering::Relaxed) && steps.len() < MAX_STEPS {
            ptrace::step(thread, signal.take())?;
            match waitpid(thread, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => steps.push(position(thread)?),
                // A signal for the thread is handed on.
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Err(Errno::ESRCH),
                _ => {}
            }
        }
        ptrace::detach(thread, signal)?;
        Ok(steps)
    }

    fn position(thread: Pid) -> Result<Step, Errno> {
        let registers = ptrace::getregs(thread)?;
        Ok(Step { instruction: registers.rip, stack: registers.rsp })
    }
}
