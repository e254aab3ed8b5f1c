//! The names of the grid; what their labels mean is told in [`servers`](crate::servers).

const ONE: [&str; 42] = [
    "ok", "nx", "nd", "nb", "sf", "rf", "ni", "fe", "ne", "nq", "lr", "si", "sl", "vs", "tr", "th",
    "fo", "cn", "co", "cl", "t0", "tm", "wi", "wq", "ga", "v4", "v6", "ad", "as", "ax", "al", "da",
    "sa", "xa", "xd", "xs", "xn", "sx", "ds", "dd", "dx", "ok",
];

const SECOND: [&str; 12] = [
    "ok", "nx", "nd", "sf", "si", "sl", "v4", "ad", "xd", "xs", "tr", "lr",
];

/// Every code of the first server, alone.
pub(crate) fn one_server() -> Vec<String> {
    let mut names: Vec<_> = ONE.iter().map(|code| format!("s-{code}.x.test")).collect();
    names.pop();
    names.extend(["s-ok.x.test.", "s-ok", "S-OK.X.Test", "unknown.test"].map(str::to_owned));
    names
}

/// Every code of the first server with some of the second.
pub(crate) fn two_servers() -> Vec<String> {
    let pair = |first: &str| {
        let first = first.to_owned();
        SECOND.map(move |second| format!("s-{first}-{second}.x.test"))
    };
    ONE[..41].iter().flat_map(|first| pair(first)).collect()
}

pub(crate) fn three_servers() -> Vec<String> {
    let codes = ["ok", "nx", "sf", "si", "vs"];
    let mut names = Vec::new();
    for first in codes {
        for second in codes {
            names.extend(codes.map(|third| format!("s-{first}-{second}-{third}.x.test")));
        }
    }
    names
}

/// Three domains and the name as it is, with no dot to three.
pub(crate) fn searched() -> Vec<String> {
    let codes = ["ok", "nx", "nd", "sf", "si", "xd", "xs", "ds"];
    let mut names = Vec::new();
    for first in codes {
        for second in codes {
            names.push(format!("c-{first}-{second}-nx-ok"));
            names.push(format!("c-nx-{first}-{second}-nx.a"));
            names.push(format!("c-{first}-nx-nx-{second}.a.b"));
        }
        names.push(format!("c-nx-nx-nx-{first}.a.b.c"));
        names.push(format!("c-nx-nx-nx-{first}.a."));
        names.push(format!("c-{first}-nx-nx-nx"));
    }
    names
}

/// What every configuration is asked, so that its lines are told apart.
pub(crate) fn few() -> Vec<String> {
    let names = [
        "s-ok.x.test",
        "s-ok",
        "s-nx-ok.x.test",
        "s-sf-ok.x.test",
        "s-si-ok.x.test",
        "c-ok",
        "c-nx-ok",
        "c-nx-nx-ok",
        "c-nx-nx-nx-ok",
        "c-nx-nx-nx-ok.a",
        "c-nx-nx-nx-ok.a.b",
        "c-nx-ok-nx-nx.a",
        "c-ok-nx-nx-nx.a.b",
        "c-nx-ok-nx-nx.a.b.c",
        "s-v4.x.test",
        "s-v6.x.test",
        "s-tr.x.test",
        "unknown.test",
    ];
    names.map(str::to_owned).to_vec()
}

pub(crate) fn pinned() -> Vec<String> {
    let names = [
        "pin4.test",
        "pin6.test",
        "both.test",
        "lines.test",
        "alias.test",
        "ALIAS.test",
        "upper.test",
        "comment.test",
        "behind.test",
        "crlf.test",
        "bad.test",
        "s-ok.pinned.test",
        "pin4",
        "pin4.test.",
        "tab.test",
        "mapped.test",
        "twice.test",
        "dotted.test",
        "leading.test",
        "s-ok.free.test",
        "unknown.test",
    ];
    names.map(str::to_owned).to_vec()
}
