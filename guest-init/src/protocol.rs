//! What the agent (PID 1) tells the host, and how.
//!
//! A report is one line of text, the same over the agent port and over the console:
//!
//! ```text
//! vmbisect-agent: <nonce> init
//! vmbisect-agent: <nonce> fact <key> <value>
//! vmbisect-agent: <nonce> start
//! vmbisect-agent: <nonce> exit <status>
//! vmbisect-agent: <nonce> fail <what went wrong>
//! ```
//!
//! `init` comes first, then any number of facts, then `start` where there is a workload, then
//! `exit` (with status 0 where there is no workload). `fail` can come at any time and is the last
//! one. After `exit` or `fail` the agent asks for a reset. `status` is what a shell would show: the
//! exit code, or 128 plus the number of the signal that killed the workload.
//!
//! # Where reports go
//! To the agent port, one byte a write, if reading one byte from [`AGENT_PORT`] gives
//! [`AGENT_PORT_MAGIC`]. The agent uses ioperm(2) or, in kernels without it
//! (`CONFIG_X86_IOPL_IOPERM`), /dev/port. Where neither can be had or nobody answers, reports go to
//! the console: through /dev/kmsg, which no other message of the kernel can tear in two but which
//! puts a time stamp in front, else through the serial terminal. So a report on the console may
//! begin anywhere in a line, and a guest that prints its kernel log shows earlier ones again.
//!
//! # The nonce
//! It is drawn for each trial and given on the kernel command line as `vmbisect.nonce=<nonce>`, so
//! that neither a wild write to the port nor a line that a workload happens to print can pass for a
//! report. It guards against accidents, not against intent: a workload runs as root, can read
//! /proc/cmdline and the kernel log, and so can say whatever it wants about its own trial.
//! Hiding the parameter would not change that, since root in the guest can also read PID 1's
//! memory. What a guest says is never more than a statement about that guest.

pub use crate::shared::cmdline::MAX_NONCE;
pub use crate::shared::message::{
    AGENT_PORT, AGENT_PORT_MAGIC, MAX_LINE, NONCE_PARAMETER, PREFIX, TERMINAL_PARAMETER, fact,
};

/// A report of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// PID 1 runs and has mounted what a workload needs.
    Init,
    /// Something about the guest that the console may not show; keys are in [`fact`].
    Fact {
        /// What it is about.
        key: String,
        /// What it is.
        value: String,
    },
    /// The workload is started next.
    Start,
    /// The workload ended with this status, as a shell would show it.
    Exit(u8),
    /// PID 1 could not do its work, and why.
    Fail(String),
}

impl Report {
    /// Reads a line (without its end) as a report that carries `nonce`.
    ///
    /// Whatever stands before the report is passed over: on the console that can be a time stamp
    /// or the rest of a line of somebody else's. `None` is a line that is not a report of this
    /// trial; with an empty nonce, no line is.
    pub fn parse(line: &str, nonce: &str) -> Option<Report> {
        if nonce.is_empty() {
            return None;
        }
        line.match_indices(PREFIX).find_map(|(start, _)| {
            let (given, report) = line.get(start + PREFIX.len()..)?.split_once(' ')?;
            if given == nonce { Report::from_words(report) } else { None }
        })
    }

    fn from_words(report: &str) -> Option<Report> {
        match report.split_once(' ') {
            None if report == "init" => Some(Report::Init),
            None if report == "start" => Some(Report::Start),
            Some(("exit", status)) => status.parse().ok().map(Report::Exit),
            Some(("fail", reason)) => Some(Report::Fail(reason.to_owned())),
            Some(("fact", fact)) => {
                let (key, value) = fact.split_once(' ')?;
                Some(Report::Fact { key: key.to_owned(), value: value.to_owned() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Report;
    use crate::shared::message::{Line, Message};

    #[test]
    fn only_a_line_with_the_nonce_is_a_report() {
        let parse = |line| Report::parse(line, "c0ffee");
        assert_eq!(parse("vmbisect-agent: c0ffee init"), Some(Report::Init));
        assert_eq!(parse("vmbisect-agent: c0ffee exit 137"), Some(Report::Exit(137)));
        assert_eq!(
            parse("vmbisect-agent: c0ffee fail no /workload"),
            Some(Report::Fail("no /workload".into()))
        );
        assert_eq!(
            parse("vmbisect-agent: c0ffee fact release 6.1.0 x"),
            Some(Report::Fact { key: "release".into(), value: "6.1.0 x".into() })
        );
        assert_eq!(parse("vmbisect-agent: c0ffee exit 256"), None);
        assert_eq!(parse("vmbisect-agent: decaf exit 0"), None);
        assert_eq!(parse("vmbisect-agent: c0ffee"), None);
        assert_eq!(parse("exit 0"), None);
        assert_eq!(Report::parse("vmbisect-agent:  exit 0", ""), None);
    }

    #[test]
    fn a_console_line_may_begin_with_something_else() {
        let line = "[    0.731][    T1] vmbisect-agent: c0ffee exit 0";
        assert_eq!(Report::parse(line, "c0ffee"), Some(Report::Exit(0)));
        let torn = "vmbisect-agent: c0ffee stvmbisect-agent: c0ffee start";
        assert_eq!(Report::parse(torn, "c0ffee"), Some(Report::Start));
    }

    proptest! {
        #[test]
        fn what_the_agent_says_is_what_the_host_reads(
            nonce in "[!-~]{1,64}", status: u8, text in "[ -~]{0,300}", key in "[a-z-]{1,20}",
        ) {
            let read = |message: Message<'_>| {
                let line = Line::report(&nonce, message);
                let line = std::str::from_utf8(line.as_bytes()).unwrap();
                Report::parse(line.strip_suffix('\n').unwrap(), &nonce)
            };
            prop_assert_eq!(read(Message::Init), Some(Report::Init));
            prop_assert_eq!(read(Message::Start), Some(Report::Start));
            prop_assert_eq!(read(Message::Exit(status)), Some(Report::Exit(status)));
            prop_assert_eq!(
                read(Message::Fail(format_args!("{text}"))), Some(Report::Fail(text.clone()))
            );
            prop_assert_eq!(
                read(Message::Fact(&key, format_args!("{text}"))),
                Some(Report::Fact { key: key.clone(), value: text.clone() })
            );
        }

        #[test]
        fn no_line_makes_it_panic(line in ".*", nonce in ".{0,8}") {
            let _ = Report::parse(&line, &nonce);
        }
    }
}
