//! The hickory backend beside glibc's getaddrinfo: the same `resolv.conf`, hosts file, name servers
//! and names, in a network and a mount namespace of their own. A difference is a bug, or stands in
//! the table with the reason why it is better.
//!
//! A cell of the grid is one configuration with all its names; it runs in a process of its own,
//! which is this program again. Needs the right to make namespaces, as root has it.
#![cfg(all(test, target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "these are tests")]
#![allow(
    clippy::print_stdout,
    reason = "the counts of the grid are for the reader"
)]

mod cell;
mod confs;
mod names;
mod namespace;
mod servers;
mod table;

use std::collections::BTreeSet;

use tollgate_testing::skip;

use self::confs::Conf;
use self::table::DIFFERENCES;

/// One name under one configuration, and how both resolvers ended.
#[derive(Debug)]
struct Case {
    conf: &'static str,
    name: String,
    ours: String,
    glibc: String,
}

/// How many cells run at a time: they wait more than they work.
const AT_A_TIME: usize = 8;

#[test]
fn differences_from_getaddrinfo_are_documented() {
    if !namespace::is_permitted() {
        return skip("unshare -mn as root", "util-linux, iproute2");
    }
    let confs = confs::all();
    let mut cases = Vec::new();
    for some in confs.chunks(AT_A_TIME) {
        let cells: Vec<_> = some
            .iter()
            .map(|conf| namespace::Cell::start(conf))
            .collect();
        for (conf, cell) in some.iter().zip(cells) {
            cases.extend(read(conf, &cell.output()));
        }
    }
    let mut used = BTreeSet::new();
    let mut undocumented = Vec::new();
    let differing = cases.iter().filter(|case| case.ours != case.glibc);
    let differing: Vec<&Case> = differing.collect();
    for case in &differing {
        match DIFFERENCES
            .iter()
            .position(|difference| difference.fits(case))
        {
            Some(row) => drop(used.insert(row)),
            None => undocumented.push(case),
        }
    }
    println!(
        "{} cases under {} configurations: {} differ from glibc, for {} documented reasons",
        cases.len(),
        confs.len(),
        differing.len() - undocumented.len(),
        used.len(),
    );
    for &row in &used {
        let fitting = |case: &&&Case| DIFFERENCES[row].fits(case);
        let count = differing.iter().filter(fitting).count();
        println!("  {count:4} × {}", DIFFERENCES[row].why);
    }
    assert!(
        undocumented.is_empty(),
        "undocumented:\n{}",
        list(&undocumented)
    );
    let unused: Vec<_> = (0..DIFFERENCES.len())
        .filter(|row| !used.contains(row))
        .collect();
    assert!(
        unused.is_empty(),
        "documented, and not seen: rows {unused:?}"
    );
}

fn list(cases: &[&&Case]) -> String {
    let line = |case: &&&Case| {
        let Case {
            conf,
            name,
            ours,
            glibc,
        } = case;
        format!("{conf}: {name}: ours {ours}, glibc {glibc}\n")
    };
    cases.iter().map(line).collect()
}

fn read(conf: &Conf, output: &str) -> Vec<Case> {
    let lines = output
        .lines()
        .filter_map(|line| line.strip_prefix(cell::MARK));
    let case = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, ours, glibc] = fields[..] else {
            panic!("{line:?} is no case");
        };
        Case {
            conf: conf.label,
            name: name.to_owned(),
            ours: ours.to_owned(),
            glibc: glibc.to_owned(),
        }
    };
    let cases: Vec<Case> = lines.map(case).collect();
    assert_eq!(cases.len(), conf.names().len(), "{}: {output}", conf.label);
    cases
}

/// The inside of a cell.
#[test]
#[ignore = "run by the other test, in namespaces of its own"]
fn cell() {
    cell::run();
}
