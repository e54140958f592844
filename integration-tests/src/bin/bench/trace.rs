//! What a trace of Envoy's worker says about the code in the VM.

use std::collections::BTreeSet;

/// The pieces in which a processor caches code.
const LINE_BYTES: u64 = 64;

/// A point of a trace: the next instruction and the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub instruction: u64,
    pub stack: u64,
}

/// The memory areas with generated code: executable and not from a file.
#[derive(Debug, PartialEq, Eq)]
pub struct VmCode(Vec<(u64, u64)>);

/// A call from Envoy into the VM, with what it calls in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// The address of the called function.
    pub function: u64,
    /// Instructions in the VM.
    pub instructions: usize,
    /// Calls from the VM into Envoy or V8. Each copy of memory is one, too.
    pub calls_out: usize,
    /// The numbers of the code lines that were touched.
    pub lines: BTreeSet<u64>,
    /// Whether it returned before the trace ended.
    pub returned: bool,
}

/// What callbacks cost together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub instructions: usize,
    pub code_bytes: u64,
}

impl Cost {
    pub fn of<'a>(callbacks: impl IntoIterator<Item = &'a Callback>) -> Self {
        let mut lines = BTreeSet::<u64>::new();
        let mut instructions = 0;
        for callback in callbacks {
            instructions += callback.instructions;
            lines.extend(callback.lines.iter().copied());
        }
        Self { instructions, code_bytes: lines.len() as u64 * LINE_BYTES }
    }
}

impl VmCode {
    /// Reads the text of `/proc/<pid>/maps`.
    pub fn of(maps: &str) -> Self {
        Self(maps.lines().filter_map(generated).collect())
    }

    fn contains(&self, address: u64) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        after.checked_sub(1).is_some_and(|at| address < self.0[at].1)
    }

    /// The callbacks in a trace, in order. The trace must not begin within one.
    pub fn callbacks(&self, steps: &[Step]) -> Vec<Callback> {
        let mut all = Vec::new();
        let mut running: Option<Running> = None;
        let mut before: Option<(Step, bool)> = None;
        for step in steps {
            let inside = self.contains(step.instruction);
            let left = !inside && before.is_some_and(|(_, inside)| inside);
            match &mut running {
                None if inside => running = Some(Running::begin(*step)),
                Some(now) if inside => now.proceed(before, *step),
                // The stack is above the place where the callback began, so it has returned.
                Some(now) if left && step.stack > now.began_at => {
                    now.callback.returned = true;
                    all.extend(running.take().map(|ended| ended.callback));
                }
                Some(now) if left => now.callback.calls_out += 1,
                _ => {}
            }
            before = Some((*step, inside));
        }
        all.extend(running.map(|now| now.callback));
        all
    }
}

/// The area of a line such as `7f00-7f10 r-xp 00000000 00:00 0`, if it has generated code.
fn generated(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let executable = fields.next()?.contains('x');
    let path = fields.nth(3).unwrap_or("");
    let address = |text| u64::from_str_radix(text, 16).ok();
    (executable && (path.is_empty() || path.starts_with("[anon"))).then_some((address(start)?, address(end)?))
}

struct Running {
    /// The stack pointer at the first instruction.
    began_at: u64,
    callback: Callback,
}

impl Running {
    fn begin(step: Step) -> Self {
        let mut running = Self { began_at: step.stack, callback: Callback::default() };
        running.count(step);
        running
    }

    fn proceed(&mut self, before: Option<(Step, bool)>, step: Step) {
        // Callbacks with the same parameters begin with the same stub. The first function that it calls tells them apart.
        let called = before.is_some_and(|(before, inside)| inside && is_call(before, step));
        if self.callback.function == 0 && called {
            self.callback.function = step.instruction;
        }
        self.count(step);
    }

    fn count(&mut self, step: Step) {
        self.callback.instructions += 1;
        self.callback.lines.insert(step.instruction / LINE_BYTES);
    }
}

/// Whether a call leads from one step to the next: it goes elsewhere, and the return address is on the stack.
fn is_call(before: Step, step: Step) -> bool {
    const LONGEST_INSTRUCTION: u64 = 15;
    let next = before.instruction..=before.instruction + LONGEST_INSTRUCTION;
    !next.contains(&step.instruction) && before.stack.checked_sub(8) == Some(step.stack)
}

#[cfg(test)]
mod tests {
    use super::{Callback, Cost, Step, VmCode};

    const MAPS: &str = "\
        1000-2000 r-xp 00000000 08:01 42                         /usr/bin/envoy\n\
        2000-3000 r--p 00000000 00:00 0\n\
        5000-6000 rwxp 00000000 00:00 0 \n\
        7000-8000 r-xp 00000000 00:00 0                          [vdso]\n\
        9000-a000 r-xp 00000000 00:00 0                          [anon:v8]\n";

    fn steps(all: &[(u64, u64)]) -> Vec<Step> {
        all.iter().map(|(instruction, stack)| Step { instruction: *instruction, stack: *stack }).collect()
    }

    fn shown(callbacks: &[Callback]) -> Vec<(u64, usize, usize, bool)> {
        callbacks.iter().map(|c| (c.function, c.instructions, c.calls_out, c.returned)).collect()
    }

    #[test]
    fn generated_code_is_executable_and_from_no_file() {
        let code = VmCode::of(MAPS);
        assert_eq!(code, VmCode(vec![(0x5000, 0x6000), (0x9000, 0xa000)]));
        for (address, inside) in
            [(0x4fff, false), (0x5000, true), (0x5fff, true), (0x6000, false), (0x9abc, true)]
        {
            assert_eq!(code.contains(address), inside, "{address:x}");
        }
    }

    #[test]
    fn a_callback_goes_on_after_the_calls_that_it_makes() {
        let trace = steps(&[
            (0x1000, 0x808),
            (0x5000, 0x800), // Envoy calls the stub,
            (0x5004, 0x800),
            (0x5800, 0x7f8), // which calls the function,
            (0x1100, 0x7f0), // which calls Envoy,
            (0x9000, 0x700), // which allocates in the VM.
            (0x1104, 0x708),
            (0x5804, 0x7f8),
            (0x5008, 0x800),
            (0x1004, 0x808),
        ]);
        let callbacks = VmCode::of(MAPS).callbacks(&trace);
        assert_eq!(shown(&callbacks), [(0x5800, 6, 2, true)]);
    }

    #[test]
    fn two_callbacks_are_two_and_the_last_one_may_be_cut_off() {
        let trace = steps(&[
            (0x1000, 0x808),
            (0x5000, 0x800),
            (0x5800, 0x7f8),
            (0x1004, 0x808),
            (0x5000, 0x700), // deeper in the stack than the first one
            (0x5900, 0x6f8),
            (0x1004, 0x708),
            (0x5000, 0x800),
        ]);
        let callbacks = VmCode::of(MAPS).callbacks(&trace);
        assert_eq!(shown(&callbacks), [(0x5800, 2, 0, true), (0x5900, 2, 0, true), (0, 1, 0, false)]);
    }

    #[test]
    fn code_lines_count_once_however_often_they_run() {
        let once = steps(&[(0x1000, 8), (0x5000, 0), (0x503f, 0), (0x5040, 0), (0x1000, 8)]);
        let twice = [once.clone(), once].concat();
        let callbacks = VmCode::of(MAPS).callbacks(&twice);
        assert_eq!(Cost::of(&callbacks), Cost { instructions: 6, code_bytes: 128 });
    }
}
