//! The origins that connections were seen to, their addresses, and the closes to be looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use tollgate_core::Origin;

use crate::table::canonical;
use crate::{ClosedFirst, Counts, Files, Ports, Sockets, TcpState};

/// More origins than this share `_other`, as in `tollgate-queue-metrics`.
pub(crate) const MAX_ORIGINS: usize = 100;

/// More addresses of one origin are not looked at.
const MAX_ADDRS: usize = 64;

/// More closes between two reports are not looked up: as many as there are local ports.
const MAX_CLOSES: usize = 65_536;

/// More open connections are not followed to their close.
const MAX_OPEN: usize = 65_536;

/// The origin that stands for those above [`MAX_ORIGINS`].
const OTHER: &str = "_other";

/// An origin as its series are labelled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) address: String,
    pub(crate) port: u16,
}

impl Label {
    fn of(origin: &Origin) -> Self {
        Self {
            address: origin.host().to_owned(),
            port: origin.port(),
        }
    }

    fn other() -> Self {
        Self {
            address: OTHER.to_owned(),
            port: 0,
        }
    }
}

/// The two ends of a connection, the local one first.
type Ends = (SocketAddr, SocketAddr);

struct Close {
    label: Label,
    ends: Ends,
    /// It was still open at a report: what is open at the next was opened anew.
    was_open: bool,
}

#[derive(Default)]
pub(crate) struct Known {
    origins: BTreeMap<Label, Series>,
    open: HashMap<u64, Ends>,
    closes: Vec<Close>,
}

#[derive(Default)]
struct Series {
    addrs: BTreeSet<SocketAddr>,
    closed: [u64; ClosedFirst::ALL.len()],
}

/// One origin's numbers in one report.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: Label,
    pub(crate) sockets: Counts,
    pub(crate) headroom: f64,
    pub(crate) closed: [u64; ClosedFirst::ALL.len()],
}

/// One reading of everything.
pub(crate) struct Reading {
    pub(crate) sockets: Sockets,
    pub(crate) ports: Ports,
    pub(crate) files: Option<Files>,
}

impl Known {
    pub(crate) fn learn(&mut self, origin: &Origin, addr: SocketAddr) {
        let label = self.label_of(origin);
        let addrs = &mut self.origins.entry(label).or_default().addrs;
        if addrs.len() < MAX_ADDRS {
            addrs.insert(canonical(addr));
        }
    }

    fn label_of(&self, origin: &Origin) -> Label {
        let label = Label::of(origin);
        if self.origins.contains_key(&label) || self.origins.len() < MAX_ORIGINS {
            label
        } else {
            Label::other()
        }
    }

    pub(crate) fn opened(&mut self, connection: u64, ends: Ends) {
        if self.open.len() < MAX_OPEN {
            self.open
                .insert(connection, (canonical(ends.0), canonical(ends.1)));
        }
    }

    pub(crate) fn closed(&mut self, origin: &Origin, connection: u64) {
        // Otherwise beyond the bound, or its ends were never known.
        let Some(ends) = self.open.remove(&connection) else {
            return;
        };
        if self.closes.len() < MAX_CLOSES {
            self.closes.push(Close {
                label: self.label_of(origin),
                ends,
                was_open: false,
            });
        }
    }

    pub(crate) fn rows(&mut self, reading: &Reading) -> Vec<Row> {
        // First, so that what this reading settles is in its rows.
        self.settle_closes(&reading.sockets);
        let destinations: HashMap<_, _> = reading
            .sockets
            .destinations(&reading.ports)
            .into_iter()
            .map(|one| (one.remote, one))
            .collect();
        let mut rows = Vec::new();
        for (label, series) in &mut self.origins {
            // An address without a socket has nothing to tell, and the next dial brings it back.
            series.addrs.retain(|addr| destinations.contains_key(addr));
            let found = series
                .addrs
                .iter()
                .filter_map(|addr| destinations.get(addr));
            let mut row = Row {
                label: label.clone(),
                sockets: Counts::default(),
                headroom: 1.0,
                closed: series.closed,
            };
            for destination in found {
                row.sockets.add(&destination.sockets);
                // Of the fullest address, where dials fail first.
                row.headroom = row.headroom.min(destination.headroom());
            }
            rows.push(row);
        }
        rows
    }

    fn settle_closes(&mut self, sockets: &Sockets) {
        let states: HashMap<Ends, TcpState> = sockets
            .all
            .iter()
            .map(|socket| ((socket.local, socket.remote), socket.state))
            .collect();
        let origins = &mut self.origins;
        self.closes.retain_mut(|close| {
            match ClosedFirst::after(states.get(&close.ends).copied()) {
                Some(side) => {
                    let series = origins.entry(close.label.clone()).or_default();
                    series.closed[side as usize] += 1;
                    false
                }
                // The driver drops the socket a moment after the pool has let it go.
                None => !std::mem::replace(&mut close.was_open, true),
            }
        });
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
