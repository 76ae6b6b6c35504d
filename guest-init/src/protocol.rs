//! What the agent (PID 1) tells the host, and how.
//!
//! A report is one line of text, the same over the agent port and over the console:
//!
//! ```text
//! vmbisect-agent: <nonce> init
//! vmbisect-agent: <nonce> start
//! vmbisect-agent: <nonce> exit <status>
//! vmbisect-agent: <nonce> fail <what went wrong>
//! ```
//!
//! The nonce is drawn for each trial and given on the kernel command line as
//! `vmbisect.nonce=<nonce>`, so that neither a wild write to the port nor a line that the workload
//! prints can pass for a report. `status` is what a shell would show: the exit code, or 128 plus
//! the number of the signal that killed the workload.

/// First of the agent port's I/O ports. One byte written is one byte of a line.
pub const AGENT_PORT: u16 = 0x7b0;

/// What every report begins with.
pub const PREFIX: &str = "vmbisect-agent: ";

/// Name of the kernel command line parameter that carries the nonce.
pub const NONCE_PARAMETER: &str = "vmbisect.nonce";

/// A report of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// PID 1 runs and has mounted what a workload needs.
    Init,
    /// The workload has been started.
    Start,
    /// The workload ended with this status, as a shell would show it.
    Exit(u8),
    /// PID 1 could not do its work, and why.
    Fail(String),
}

impl Report {
    /// Reads a line (without its end) as a report that carries `nonce`.
    ///
    /// `None` is a line that is not a report of this trial.
    pub fn parse(line: &str, nonce: &str) -> Option<Report> {
        let (given, report) = line.strip_prefix(PREFIX)?.split_once(' ')?;
        if given != nonce {
            return None;
        }
        match report.split_once(' ') {
            None if report == "init" => Some(Report::Init),
            None if report == "start" => Some(Report::Start),
            Some(("exit", status)) => status.parse().ok().map(Report::Exit),
            Some(("fail", reason)) => Some(Report::Fail(reason.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn only_a_line_with_the_nonce_is_a_report() {
        let parse = |line| Report::parse(line, "c0ffee");
        assert_eq!(parse("vmbisect-agent: c0ffee init"), Some(Report::Init));
        assert_eq!(parse("vmbisect-agent: c0ffee exit 137"), Some(Report::Exit(137)));
        assert_eq!(
            parse("vmbisect-agent: c0ffee fail no /workload"),
            Some(Report::Fail("no /workload".into()))
        );
        assert_eq!(parse("vmbisect-agent: c0ffee exit 256"), None);
        assert_eq!(parse("vmbisect-agent: decaf exit 0"), None);
        assert_eq!(parse("vmbisect-agent: c0ffee"), None);
        assert_eq!(parse("exit 0"), None);
    }
}
