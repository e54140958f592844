//! Lines of the `log` crate become lines of Envoy's log.
//!
//! A line is formatted and handed over only if Envoy's level for `wasm` shows it. The level is read when a
//! configuration is loaded and on every tick. So `/logging?wasm=debug` takes effect within a tick.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// The log target of decision records. Operators' tools find records by it.
pub const RECORDS: &str = "llm-failsafe record";

/// What all other lines begin with.
const PREFIX: &str = "llm-failsafe";

/// Hands lines to `write`.
pub struct Logger {
    pub write: fn(Level, &str),
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let prefix = if record.target() == RECORDS { RECORDS } else { PREFIX };
            (self.write)(record.level(), &format!("{prefix}: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// The filter for a level of the ABI. Without one, it is Envoy's default, info.
pub const fn filter(abi_level: Option<i32>) -> LevelFilter {
    match abi_level {
        Some(0) => LevelFilter::Trace,
        Some(1) => LevelFilter::Debug,
        Some(3) => LevelFilter::Warn,
        Some(4) => LevelFilter::Error,
        // Critical, and Envoy's `off`: the filter has no such lines.
        Some(5..) => LevelFilter::Off,
        Some(_) | None => LevelFilter::Info,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fmt;

    use super::*;

    thread_local! {
        static LINES: RefCell<Vec<(Level, String)>> = RefCell::default();
    }

    const LOGGER: Logger =
        Logger { write: |level, line| LINES.with_borrow_mut(|lines| lines.push((level, line.to_owned()))) };

    fn write(target: &str, level: Level, args: fmt::Arguments<'_>) {
        LOGGER.log(&Record::builder().target(target).level(level).args(args).build());
    }

    /// Counts how often it is formatted.
    struct Costly<'a>(&'a Cell<u32>);

    impl fmt::Display for Costly<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            f.write_str("costly")
        }
    }

    // One test, because the level belongs to the process.
    #[test]
    fn lines_have_a_prefix_and_those_that_envoy_hides_are_not_formatted() {
        let formatted = Cell::new(0);
        log::set_max_level(filter(None));
        write("llm_failsafe::host", Level::Info, format_args!("{}", Costly(&formatted)));
        write("llm_failsafe::host", Level::Debug, format_args!("{}", Costly(&formatted)));
        write(RECORDS, Level::Warn, format_args!("{{\"a\":1}}"));
        log::set_max_level(filter(Some(1)));
        write("llm_failsafe::host", Level::Debug, format_args!("{}", Costly(&formatted)));
        log::set_max_level(filter(Some(6)));
        write("llm_failsafe::host", Level::Error, format_args!("{}", Costly(&formatted)));
        assert_eq!(formatted.get(), 2);
        let expected = [
            (Level::Info, "llm-failsafe: costly"),
            (Level::Warn, "llm-failsafe record: {\"a\":1}"),
            (Level::Debug, "llm-failsafe: costly"),
        ];
        LINES.with_borrow(|lines| {
            assert_eq!(lines.iter().map(|(level, line)| (*level, &**line)).collect::<Vec<_>>(), expected);
        });
    }

    #[test]
    fn the_abi_numbers_levels_from_trace_to_critical() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6].map(|level| filter(Some(level))),
            [Trace, Debug, Info, Warn, Error, Off, Off]
        );
        assert_eq!((filter(None), filter(Some(-1))), (Info, Info));
    }
}
