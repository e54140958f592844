//! Passes Envoy's output on, and never lets Envoy wait.
//!
//! Envoy keeps what its standard output does not take, without a bound. So this program always reads. What its own output
//! does not take is kept up to a bound; whole lines beyond it are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much is read at once.
const MAX_READ: usize = 64 * 1024;

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
    /// The output takes nothing any more.
    broken: bool,
}

impl Lines {
    /// A whole line has come. After a drop, lines are taken again when half of the bound is free, so that one report stands
    /// for many lines.
    fn add(&mut self, line: Vec<u8>, max: usize) {
        let most = if self.dropped > 0 { max / 2 } else { max };
        if self.broken || self.bytes.saturating_add(line.len()) > most {
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

    /// Writes until the input has ended and all is written, or the output breaks.
    fn write(&self, mut output: impl Write) {
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
            let written = line.as_ref().map(|line| output.write_all(line).and_then(|()| output.flush()));
            let mut lines = self.lines();
            lines.bytes = lines.bytes.saturating_sub(line.map_or(0, |line| line.len()));
            match written {
                Some(Ok(())) => {}
                None | Some(Err(_)) => {
                    lines.broken = true;
                    lines.waiting.clear();
                    drop(lines);
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }

    /// Waits until the output has got everything. It may be blocked, so not for ever.
    fn wait_for_output(&self) {
        let lines = self.lines();
        let _ = self.changed.wait_timeout_while(lines, LAST_CHANCE, |lines| !lines.broken);
    }
}

/// Passes standard input on to standard output. At most `max` bytes wait.
pub fn run(max: usize) -> Result<String, String> {
    let pipe: &'static Pipe = Box::leak(Box::default());
    thread::spawn(move || pipe.write(io::stdout()));
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

    #[test]
    fn after_the_output_has_broken_everything_is_read_and_nothing_kept() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let pipe = Pipe::default();
        pipe.lines().push(b"a\n".to_vec());
        pipe.write(Broken);
        pipe.read(&b"b\nc\n"[..], 100).unwrap();
        let lines = pipe.lines();
        assert!(lines.ended && text(&lines).ends_with("\"lines\":2}\n"), "{lines:?}");
    }

    #[test]
    fn the_rest_without_a_line_end_is_written_too() {
        let pipe = Pipe::default();
        pipe.read(&b"a\nb"[..], 100).unwrap();
        let mut out = Vec::new();
        pipe.write(&mut out);
        assert_eq!(out, b"a\nb");
    }
}
