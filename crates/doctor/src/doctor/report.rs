//! Checks, findings, and their order.

use std::cmp::Reverse;
use std::fmt;

use serde::Serialize;

/// The outcome of one check, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// As it should be.
    Ok,
    /// Could not be measured, or did not have to be.
    Skipped,
    /// It costs time or connections, or will under load: a finding.
    Warning,
    /// Calls fail because of it, or are about to: a finding.
    Critical,
}

impl Status {
    const fn symbol(self) -> char {
        match self {
            Self::Ok => '√',
            Self::Skipped => '-',
            Self::Warning => '!',
            Self::Critical => '×',
        }
    }
}

/// One check, with its measurement and the option to change.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// `host`, `dns`, `origin` or `pool`.
    pub group: &'static str,
    /// A name that does not change, for scripts: [`IDS`] lists them.
    pub id: &'static str,
    /// The outcome.
    pub status: Status,
    /// One line for people.
    pub summary: String,
    /// The measurement.
    pub evidence: String,
    /// The option or setting to change; `None` where nothing is wrong.
    pub option: Option<String>,
}

/// The names of all checks: causes stand before their consequences, and so they come first.
pub const IDS: &[(&str, &str)] = &[
    ("host", "descriptors"),
    ("host", "local-ports"),
    ("host", "time-wait"),
    ("dns", "nameserver-lies"),
    ("dns", "nameserver-silent"),
    ("dns", "resolves"),
    ("dns", "nameserver-slow"),
    ("origin", "reachable"),
    ("origin", "tls"),
    ("origin", "http"),
    ("origin", "addresses"),
    ("origin", "keep-alive"),
    ("origin", "keep-alive-hint"),
    ("origin", "idle-close"),
    ("origin", "connections"),
    ("pool", "limit"),
    ("pool", "refusals"),
    ("dns", "search-list"),
    ("dns", "ttl"),
    ("origin", "connect-time"),
    ("origin", "alpn"),
];

impl Check {
    pub(crate) fn new(id: &'static str, status: Status, summary: impl Into<String>) -> Self {
        let known = IDS.iter().find(|(_, known)| *known == id);
        debug_assert!(known.is_some(), "{id} is not in the list");
        Self {
            group: known.map_or("", |(group, _)| group),
            id,
            status,
            summary: summary.into(),
            evidence: String::new(),
            option: None,
        }
    }

    pub(crate) fn ok(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, Status::Ok, summary)
    }

    pub(crate) fn skipped(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, Status::Skipped, summary)
    }

    pub(crate) fn warning(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, Status::Warning, summary)
    }

    pub(crate) fn critical(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, Status::Critical, summary)
    }

    pub(crate) fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    pub(crate) fn option(mut self, option: impl Into<String>) -> Self {
        self.option = Some(option.into());
        self
    }

    /// Returns true if something is wrong.
    pub fn is_finding(&self) -> bool {
        self.status >= Status::Warning
    }

    fn rank(&self) -> usize {
        let at = IDS.iter().position(|(_, id)| *id == self.id);
        at.unwrap_or(IDS.len())
    }
}

/// Everything that was examined. `Display` prints the findings, worst first, and then every check.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The URL that was asked for.
    pub url: String,
    /// The checks that failed, worst first, and among equals the cause before its consequences.
    pub findings: Vec<Check>,
    /// Every check, findings included, in the order of [`IDS`].
    pub checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(url: String, mut checks: Vec<Check>) -> Self {
        checks.sort_by_key(Check::rank);
        let mut findings: Vec<_> = checks
            .iter()
            .filter(|one| one.is_finding())
            .cloned()
            .collect();
        // The sort is stable: within a status the order by rank stays, causes first.
        findings.sort_by_key(|one| Reverse(one.status));
        Self {
            url,
            findings,
            checks,
        }
    }

    /// The command's exit code: 0 without findings, 1 with warnings, 2 with something critical.
    pub fn exit_code(&self) -> u8 {
        match self.findings.first().map(|worst| worst.status) {
            Some(Status::Critical) => 2,
            Some(_) => 1,
            None => 0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.len() {
            0 => writeln!(f, "{}: nothing found", self.url)?,
            1 => writeln!(f, "{}: 1 finding", self.url)?,
            n => writeln!(f, "{}: {n} findings, worst first", self.url)?,
        }
        for finding in &self.findings {
            writeln!(
                f,
                "\n{} {} [{}]",
                finding.status.symbol(),
                finding.summary,
                finding.id
            )?;
            writeln!(f, "    seen: {}", finding.evidence)?;
            if let Some(option) = &finding.option {
                writeln!(f, "    set:  {option}")?;
            }
        }
        for group in ["host", "dns", "origin", "pool"] {
            let mut checks = self
                .checks
                .iter()
                .filter(|one| one.group == group)
                .peekable();
            if checks.peek().is_some() {
                writeln!(f, "\n{group}")?;
            }
            for check in checks {
                writeln!(f, "  {} {}", check.status.symbol(), check.summary)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_sort_by_severity_then_by_cause() {
        let checks = vec![
            Check::warning("ttl", "a short TTL"),
            Check::critical("reachable", "no address connects"),
            Check::ok("descriptors", "enough"),
            Check::critical("nameserver-lies", "a nameserver lies"),
            Check::warning("local-ports", "few ports"),
            Check::skipped("tls", "plain"),
        ];
        let report = Report::new("http://billing".into(), checks);
        let order: Vec<_> = report.findings.iter().map(|one| one.id).collect();
        assert_eq!(
            order,
            ["nameserver-lies", "reachable", "local-ports", "ttl"]
        );
        assert_eq!(report.exit_code(), 2);
        assert_eq!(report.checks.len(), 6);
        let text = report.to_string();
        assert!(text.starts_with("http://billing: 4 findings, worst first\n\n× a nameserver lies"));
        assert!(text.contains("\nhost\n  √ enough\n"), "{text}");
    }

    #[test]
    fn exit_codes_tell_nothing_warning_and_critical_apart() {
        let of = |checks| Report::new(String::new(), checks).exit_code();
        assert_eq!(of(vec![Check::ok("ttl", ""), Check::skipped("tls", "")]), 0);
        assert_eq!(of(vec![Check::warning("ttl", "")]), 1);
        assert_eq!(
            of(vec![
                Check::critical("resolves", ""),
                Check::warning("ttl", "")
            ]),
            2
        );
    }
}
