//! What people read: plans, progress, results. Text is made here and printed by the commands.

mod certificate;
pub(crate) mod cost;
mod findings;
mod plan;
mod run;
mod status;

pub(crate) use certificate::certificate;
pub(crate) use findings::findings;
pub(crate) use plan::{destroy_rehearsal, plan};
pub(crate) use run::{Screen, failures, outputs, summary};
pub(crate) use status::{live, rebuilt, status, status_json};

use std::io::IsTerminal as _;

/// Colours, on a terminal that wants them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn for_stdout() -> Paint {
        Paint(
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
    }

    pub(crate) fn for_stderr() -> Paint {
        Paint(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
    }

    pub(crate) fn on(self) -> bool {
        self.0
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn blue(self, text: &str) -> String {
        self.wrap("34", text)
    }

    pub(crate) fn magenta(self, text: &str) -> String {
        self.wrap("35", text)
    }
}

/// A duration as people say it.
pub(crate) fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..=59 => format!("{}.{} s", seconds, millis % 1000 / 100),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A duration that is a guess, no finer than a guess can be.
pub(crate) fn about(millis: u64) -> String {
    let seconds = millis.div_ceil(1000);
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        600..=3599 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// "1 step", "2 steps".
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
