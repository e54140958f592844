//! Passes Envoy's output on, and never lets Envoy wait.
//!
//! Envoy keeps what its standard output does not take, without a bound. So this program always reads. What its own output
//! does not take is kept up to a bound; whole lines beyond it are dropped and counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much is read at once.
const MAX_READ: usize = 64 * 1024;

/// How long nothing is written after an error, such as a full disk or a reader that is gone.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long the output has time for the rest after the input has ended.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// Lines that wait for the output.
#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// No more lines come.
    ended: bool,
    /// Nothing more is written.
    finished: bool,
}

impl Lines {
    /// A whole line has come. After a drop, lines are taken again when half of the bound is free, so that one report stands
    /// for many lines.
    fn add(&mut self, line: Vec<u8>, max: usize) {
        let most = if self.dropped > 0 { max / 2 } else { max };
        if self.bytes.saturating_add(line.len()) > most {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.report();
        self.push(line);
    }

    /// Says how many lines are missing here.
    fn report(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.push(format!("{{\"event\":\"log_lines_dropped\",\"lines\":{dropped}}}\n").into_bytes());
        }
    }

    fn push(&mut self, line: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(line.len());
        self.waiting.push_back(line);
    }
}

/// Cuts what is read into lines.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
    /// The line is longer than the bound, so the rest of it is dropped, too.
    too_long: bool,
}

impl Cutter {
    fn feed(&mut self, bytes: &[u8], max: usize, lines: &mut Lines) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.too_long || self.line.len().saturating_add(piece.len()) > max {
                self.too_long = true;
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line(max, lines);
            }
        }
    }

    fn end_line(&mut self, max: usize, lines: &mut Lines) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            lines.dropped = lines.dropped.saturating_add(1);
        } else if !line.is_empty() {
            lines.add(line, max);
        }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    lines: Mutex<Lines>,
    changed: Condvar,
}

impl Pipe {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the input ends.
    fn read(&self, mut input: impl Read, max: usize) -> io::Result<()> {
        let (mut buffer, mut cutter) = (vec![0; MAX_READ], Cutter::default());
        let result = loop {
            match input.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => cutter.feed(buffer.get(..read).unwrap_or_default(), max, &mut self.lines()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(error),
            }
            self.changed.notify_all();
        };
        let mut lines = self.lines();
        cutter.end_line(max, &mut lines);
        lines.report();
        lines.ended = true;
        drop(lines);
        self.changed.notify_all();
        result
    }

    /// Writes until the input has ended and all is written. A line that cannot be written is dropped and counted, and the next
    /// one is tried later: a disk gets room again, and readers come back. After the end nothing is tried again.
    fn write(&self, mut output: impl Write, pause: Duration) {
        // Whether part of a line was written before an error.
        let mut is_cut = false;
        loop {
            let mut lines = self.lines();
            let line = loop {
                match lines.waiting.pop_front() {
                    Some(line) => break Some(line),
                    None if lines.ended => break None,
                    None => lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(lines);
            let is_written = line.as_ref().is_none_or(|line| {
                let end = if is_cut { b"\n".as_slice() } else { b"" };
                write_whole(&mut output, end, line, &mut is_cut).is_ok()
            });
            let mut lines = self.lines();
            lines.bytes = lines.bytes.saturating_sub(line.as_ref().map_or(0, Vec::len));
            if line.is_none() || (!is_written && lines.ended) {
                lines.finished = true;
                drop(lines);
                self.changed.notify_all();
                return;
            }
            if !is_written {
                lines.dropped = lines.dropped.saturating_add(1);
                drop(self.changed.wait_timeout_while(lines, pause, |lines| !lines.ended));
            }
        }
    }

    /// Waits until the output has got everything. It may be blocked, so not for ever.
    fn wait_for_output(&self) {
        let lines = self.lines();
        let _ = self.changed.wait_timeout_while(lines, LAST_CHANCE, |lines| !lines.finished);
    }
}

/// Writes the end of an earlier line and then this one. `is_cut` says afterwards whether part of a line was written.
fn write_whole(output: &mut impl Write, end: &[u8], line: &[u8], is_cut: &mut bool) -> io::Result<()> {
    for part in [end, line] {
        let mut rest = part;
        while !rest.is_empty() {
            match output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    *is_cut = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    output.flush()
}

/// Passes standard input on to standard output. At most `max` bytes wait.
pub fn run(max: usize) -> Result<String, String> {
    let pipe: &'static Pipe = Box::leak(Box::default());
    // Rust's own standard output keeps what it could not write, and would write it later in the middle of other lines.
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = File::from(output.map_err(|error| format!("standard output: {error}"))?);
    thread::spawn(move || pipe.write(output, PAUSE_AFTER_ERROR));
    let result = pipe.read(io::stdin(), max);
    pipe.wait_for_output();
    result.map(|()| String::new()).map_err(|error| format!("standard input: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(max: usize, pieces: &[&str]) -> (Lines, Cutter) {
        let (mut lines, mut cutter) = (Lines::default(), Cutter::default());
        for piece in pieces {
            cutter.feed(piece.as_bytes(), max, &mut lines);
        }
        (lines, cutter)
    }

    fn text(lines: &Lines) -> String {
        String::from_utf8(lines.waiting.iter().flatten().copied().collect()).unwrap()
    }

    #[test]
    fn lines_pass_whole_however_they_are_read() {
        let (lines, cutter) = fed(100, &["a", "b\nc", "\n\nd"]);
        assert_eq!((text(&lines).as_str(), cutter.line.as_slice()), ("ab\nc\n\n", b"d".as_slice()));
        assert_eq!((lines.bytes, lines.dropped), (6, 0));
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_counted_where_they_are_missing() {
        let (mut lines, _) = fed(10, &["1234\n", "5678\n", "x\n", "y\n"]);
        assert_eq!((text(&lines).as_str(), lines.dropped), ("1234\n5678\n", 2), "the bound itself fits");
        lines.bytes = 5;
        lines.add(b"z\n".to_vec(), 10);
        assert_eq!(lines.dropped, 3, "half of the bound is not free yet");
        lines.bytes = 0;
        lines.add(b"z\n".to_vec(), 10);
        assert!(text(&lines).ends_with("5678\n{\"event\":\"log_lines_dropped\",\"lines\":3}\nz\n"));
        assert_eq!(lines.dropped, 0);
    }

    #[test]
    fn a_line_longer_than_the_bound_is_dropped_as_one() {
        let (lines, _) = fed(4, &["12", "34", "56", "78\n", "ab\n"]);
        assert_eq!((text(&lines).as_str(), lines.dropped), ("", 2), "half of the bound is 2");
        let (lines, _) = fed(8, &["12345678", "9\n", "ab\n"]);
        assert_eq!(text(&lines), "{\"event\":\"log_lines_dropped\",\"lines\":1}\nab\n");
    }

    /// Takes as many bytes as it says, then fails as often, and then takes all.
    struct Full {
        room: usize,
        failures: usize,
        taken: Vec<u8>,
    }

    impl Write for &mut Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.failures > 0 {
                self.failures -= 1;
                if self.failures == 0 {
                    self.room = usize::MAX;
                }
                return Err(io::ErrorKind::StorageFull.into());
            }
            let most = bytes.len().min(self.room);
            self.room -= most;
            self.taken.extend(&bytes[..most]);
            Ok(most)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(mut output: Full, pipe: &Pipe) -> String {
        pipe.write(&mut output, Duration::ZERO);
        String::from_utf8(output.taken).unwrap()
    }

    #[test]
    fn after_an_error_lines_are_written_again_and_those_that_are_lost_are_counted() {
        let pipe = Pipe::default();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            pipe.lines().push(line.as_bytes().to_vec());
        }
        let output = Full { room: 6, failures: 2, taken: Vec::new() };
        thread::scope(|scope| {
            let text = scope.spawn(|| written(output, &pipe));
            // It reports before the next line that comes.
            while pipe.lines().dropped < 2 || !pipe.lines().waiting.is_empty() {
                thread::yield_now();
            }
            pipe.read(&b"five\n"[..], 100).unwrap();
            let text = text.join().unwrap();
            assert_eq!(text, "one\ntw\nfour\n{\"event\":\"log_lines_dropped\",\"lines\":2}\nfive\n");
        });
    }

    #[test]
    fn after_the_end_nothing_is_tried_again() {
        let pipe = Pipe::default();
        pipe.read(&b"a\nb\n"[..], 100).unwrap();
        assert_eq!(written(Full { room: 0, failures: usize::MAX, taken: Vec::new() }, &pipe), "");
        assert!(pipe.lines().finished);
    }

    #[test]
    fn the_rest_without_a_line_end_is_written_too() {
        let pipe = Pipe::default();
        pipe.read(&b"a\nb"[..], 100).unwrap();
        let mut out = Vec::new();
        pipe.write(&mut out, Duration::ZERO);
        assert_eq!(out, b"a\nb");
    }
}
