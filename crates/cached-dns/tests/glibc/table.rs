//! The differences from glibc, each with the reason why ours is better.

use crate::Case;

pub(crate) struct Difference {
    /// Configurations; empty for all.
    confs: &'static [&'static str],
    /// What the name contains, one of these; empty for all.
    names: &'static [&'static str],
    ours: Ends,
    glibc: Ends,
    pub(crate) why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Found,
    NotFound,
    Failed,
    Hangs,
    Any,
}

impl Difference {
    pub(crate) fn fits(&self, case: &Case) -> bool {
        let is_in = |conf: &&str| *conf == case.conf;
        let has = |part: &&str| case.name.contains(part);
        (self.confs.is_empty() || self.confs.iter().any(is_in))
            && (self.names.is_empty() || self.names.iter().any(has))
            && self.ours.fits(&case.ours)
            && self.glibc.fits(&case.glibc)
    }
}

impl Ends {
    fn fits(self, end: &str) -> bool {
        let is = match end {
            "not found" => Self::NotFound,
            "failed" => Self::Failed,
            "hangs" => Self::Hangs,
            _ => Self::Found,
        };
        self == Self::Any || self == is
    }
}

/// Whether the case is the same for both, or differs for a documented reason.
pub(crate) fn is_settled(case: &Case) -> bool {
    case.ours == case.glibc || DIFFERENCES.iter().any(|difference| difference.fits(case))
}

const fn row(
    confs: &'static [&'static str],
    names: &'static [&'static str],
    ours: Ends,
    glibc: Ends,
    why: &'static str,
) -> Difference {
    Difference {
        confs,
        names,
        ours,
        glibc,
        why,
    }
}

/// A case belongs to the first row that fits it.
pub(crate) const DIFFERENCES: &[Difference] = &[
    row(
        &["fourth"],
        &[],
        Ends::Any,
        Ends::Failed,
        "more than three name servers count",
    ),
    row(
        &["attempts-0"],
        &[],
        Ends::Any,
        Ends::Failed,
        "no attempts at all would find nothing: it is one",
    ),
    row(
        &["crlf"],
        &[],
        Ends::Found,
        Ends::NotFound,
        "a carriage return is no part of a search domain",
    ),
    row(
        &["search-bad", "search-long"],
        &[],
        Ends::Found,
        Ends::NotFound,
        "a search domain that is no name is left out, and the rest of the list counts",
    ),
    row(
        &[],
        &["pin4.test.", "dotted.test"],
        Ends::Found,
        Ends::Any,
        "a dot at the end of a name does not lead past the hosts file",
    ),
    row(
        &["one-edns0"],
        &["s-ne.", "s-nq."],
        Ends::Found,
        Ends::Any,
        "a server that rejects EDNS is asked without",
    ),
    row(
        &[],
        &[],
        Ends::Any,
        Ends::Hangs,
        "TCP that hangs ends with the time of the query",
    ),
    row(
        &["one-use-vc"],
        &["s-rf.", "s-ni.", "s-lr.", "s-wq.", "s-fe."],
        Ends::Failed,
        Ends::NotFound,
        "an error over TCP is no word on the name either",
    ),
    row(
        &[],
        &["s-fe", "s-cl"],
        Ends::Any,
        Ends::NotFound,
        "FORMERR and a loop of aliases are no word on the name: the next server is asked",
    ),
    row(
        &[],
        &["s-al", "s-da"],
        Ends::Found,
        Ends::Any,
        "one address family is enough: the other may follow within its time",
    ),
    row(
        &[],
        &["s-ds", "s-dd"],
        Ends::Any,
        Ends::NotFound,
        "a family that failed may have addresses: the next server is asked, and else it is a failure",
    ),
    row(
        &[],
        &["s-sx", "s-sa", "s-xs", "s-as"],
        Ends::Any,
        Ends::Any,
        "each family is taken from the first server that has a word on it",
    ),
    row(
        &[],
        &["s-vs", "-vs-"],
        Ends::Found,
        Ends::Found,
        "beside a slow server the next one is asked after 300 ms, and a late reply still counts",
    ),
    row(
        &["search-1", "search-2", "search-5"],
        &["-si"],
        Ends::Failed,
        Ends::Found,
        "a silent domain may have the name: the next one's answer could be another host's",
    ),
    row(
        &["search-1", "search-2", "search-5"],
        &["-si", "-sf", "-ds"],
        Ends::Failed,
        Ends::NotFound,
        "where a domain could not say, the name is not known to be missing",
    ),
];
