//! The machine without a clock: single cases, and every case against a reference that looks at each
//! millisecond.

mod reference;

use std::net::IpAddr;

use super::*;

const PACE: Times = Times {
    hedge: ms(300),
    silence: ms(1500),
    limit: ms(10_000),
    resolution_delay: ms(50),
    late_limit: ms(2000),
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A reply and after how long it comes; silence is one that comes never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Found(u64),
    NoData(u64),
    NoName(u64),
    Fails(u64),
    /// The port is closed.
    Closed(u64),
    Nothing,
}

impl Says {
    fn reply(self, family: Family) -> Option<(Duration, Reply)> {
        let error = |kind| LookupError::new(kind);
        let (after, reply) = match self {
            Self::Found(after) => {
                let ip: IpAddr = match family {
                    Family::V4 => [127, 0, 0, 1].into(),
                    Family::V6 => [0, 0, 0, 0, 0, 0, 0, 1].into(),
                };
                let ttl = Duration::from_secs(60);
                (after, Reply::Found(Found { ips: vec![ip], ttl }))
            }
            Self::NoData(after) => (after, Reply::NoData(None)),
            Self::NoName(after) => (after, Reply::NoName(None)),
            Self::Fails(after) => {
                let error = error(LookupErrorKind::Transient);
                (after, Reply::Failed(Failure::Replied, error))
            }
            Self::Closed(after) => {
                let error = error(LookupErrorKind::Transient);
                (after, Reply::Failed(Failure::Silent, error))
            }
            Self::Nothing => return None,
        };
        Some((ms(after), reply))
    }
}

/// By candidate, then family, then server.
type Script = Vec<[Vec<Says>; 2]>;

/// The end of a lookup in short: when, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Found { v4: bool, v6: bool, complete: bool },
    NotFound,
    Failed,
    TimedOut,
}

#[derive(Debug, PartialEq, Eq)]
struct Ran {
    after: u64,
    end: End,
    /// The number of queries that each server got.
    asked: Vec<usize>,
}

/// Runs the machine to its first outcome, stepping only at replies and where it asks to be woken.
fn run(pace: Times, seats: &[Seat], script: &Script) -> Ran {
    let start = Instant::now();
    let families = [Family::V4, Family::V6];
    let mut machine = Lookup::new(pace, seats.to_vec(), &families, script.len(), start);
    let mut asked = vec![0; seats.len()];
    let mut first_only = std::collections::HashSet::new();
    let mut due: Vec<(Instant, Ask, Reply)> = Vec::new();
    let mut now = start;
    for _ in 0..10_000 {
        let step = machine.step(now);
        let is_over = step.outcome.is_some();
        for ask in step.asks.into_iter().filter(|_| !is_over) {
            asked[ask.server] += 1;
            let of_family = &script[ask.candidate][ask.family as usize];
            // A server that is asked again gives its reply to the first query.
            if first_only.insert((ask.candidate, ask.family as usize, ask.server))
                && let Some((after, reply)) = of_family[ask.server].reply(ask.family)
            {
                due.push((now + after, ask, reply));
            }
        }
        if let Some(outcome) = step.outcome {
            let after = u64::try_from((now - start).as_millis()).unwrap();
            let end = end(&outcome);
            return Ran { after, end, asked };
        }
        due.sort_by_key(|(at, ..)| *at);
        let reply_at = due.first().map(|(at, ..)| *at);
        now = earlier(reply_at, step.wake).expect("a lookup without an outcome has a next step");
        while due.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, ask, reply) = due.remove(0);
            machine.reply(ask, reply);
        }
    }
    panic!("the machine makes no progress");
}

fn end(outcome: &Outcome) -> End {
    match outcome {
        Outcome::Found {
            found, complete, ..
        } => End::Found {
            v4: found.ips.iter().any(IpAddr::is_ipv4),
            v6: found.ips.iter().any(IpAddr::is_ipv6),
            complete: *complete,
        },
        Outcome::NotFound(_) => End::NotFound,
        Outcome::Failed(error) if error.kind() == LookupErrorKind::Timeout => End::TimedOut,
        Outcome::Failed(_) | Outcome::Over => End::Failed,
    }
}

fn seats(len: usize) -> Vec<Seat> {
    let seat = |server| Seat {
        server,
        ..Seat::default()
    };
    (0..len).map(seat).collect()
}

/// One candidate whose families get the same from each server.
fn ran(servers: &[Says]) -> (u64, End) {
    let Ran { after, end, .. } = run(
        PACE,
        &seats(servers.len()),
        &vec![[servers.to_vec(), servers.to_vec()]],
    );
    (after, end)
}

/// One candidate and one server that treats families apart.
fn families(v4: Says, v6: Says) -> (u64, End) {
    let Ran { after, end, .. } = run(PACE, &seats(1), &vec![[vec![v4], vec![v6]]]);
    (after, end)
}

const BOTH: End = End::Found {
    v4: true,
    v6: true,
    complete: true,
};

use Says::{Closed, Fails, Found as Finds, NoData, NoName, Nothing};

#[test]
fn the_configured_order_stands_unless_a_server_fails() {
    // The first knows the names of this network, the second says NXDOMAIN to them at once.
    assert_eq!(ran(&[Finds(130), NoName(1)]), (130, BOTH));
    assert_eq!(ran(&[Finds(450), NoName(1)]), (450, BOTH));
    assert_eq!(ran(&[NoName(1), Finds(1)]), (1, End::NotFound));
    assert_eq!(ran(&[Fails(1), Finds(1)]), (2, BOTH));
    assert_eq!(ran(&[Closed(0), NoName(2)]), (2, End::NotFound));
}

#[test]
fn any_servers_positive_reply_counts_at_once() {
    assert_eq!(ran(&[Nothing, Finds(5)]), (305, BOTH));
    assert_eq!(ran(&[Nothing, Nothing, Finds(5)]), (605, BOTH));
    assert_eq!(ran(&[NoName(900), Finds(5)]), (305, BOTH));
}

#[test]
fn a_negative_reply_awaits_a_silent_server() {
    assert_eq!(ran(&[Nothing, NoName(1)]), (1500, End::NotFound));
    assert_eq!(ran(&[Fails(700), NoName(1)]), (700, End::NotFound));
}

#[test]
fn a_server_slower_than_the_silence_still_resolves() {
    assert_eq!(ran(&[Finds(2700)]), (2700, BOTH));
    assert_eq!(ran(&[Finds(2700), Fails(1)]), (2700, BOTH));
    assert_eq!(ran(&[Nothing]), (10_000, End::TimedOut));
    assert_eq!(ran(&[Nothing, Fails(1)]), (10_000, End::Failed));
}

#[test]
fn a_silent_server_is_retried_with_back_off() {
    let silent = vec![Nothing];
    let script = vec![[silent.clone(), silent]];
    // At 0, 1.5 and 4.5 s, for each family.
    assert_eq!(run(PACE, &seats(1), &script).asked, [6]);
}

#[test]
fn nxdomain_for_a_stands_without_aaaa_addresses() {
    assert_eq!(families(NoName(5), Nothing), (55, End::NotFound));
    assert_eq!(families(NoName(5), Fails(9)), (9, End::NotFound));
    assert_eq!(families(NoName(5), NoData(9)), (9, End::NotFound));
    // A server that says NXDOMAIN for A of a name that has AAAA is given its chance.
    let v6 = End::Found {
        v4: false,
        v6: true,
        complete: true,
    };
    assert_eq!(families(NoName(5), Finds(9)), (9, v6));
}

#[test]
fn nxdomain_for_aaaa_says_nothing_of_a() {
    let v4 = End::Found {
        v4: true,
        v6: false,
        complete: true,
    };
    assert_eq!(families(Finds(700), NoName(5)), (700, v4));
    assert_eq!(families(Fails(7), NoName(5)), (7, End::Failed));
}

#[test]
fn nodata_beside_a_failing_family_is_no_answer() {
    assert_eq!(families(NoData(5), Fails(9)), (9, End::Failed));
    assert_eq!(families(NoData(5), Nothing), (10_000, End::TimedOut));
}

#[test]
fn a_late_family_costs_the_resolution_delay() {
    let part = End::Found {
        v4: true,
        v6: false,
        complete: false,
    };
    assert_eq!(families(Finds(5), Nothing), (55, part));
    assert_eq!(families(Finds(5), Finds(40)), (40, BOTH));
    assert_eq!(families(Finds(5), Fails(6)), (6, part));
}

#[test]
fn the_late_family_joins_or_is_over() {
    let start = Instant::now();
    let both = [Family::V4, Family::V6];
    for (late, found) in [(ms(1999), true), (ms(2000), false)] {
        let mut machine = Lookup::new(PACE, seats(1), &both, 1, start);
        let asks = machine.step(start).asks;
        let reply = |ask: Ask| Finds(0).reply(ask.family).unwrap().1;
        machine.reply(asks[0], reply(asks[0]));
        machine.step(start);
        let given = start + ms(50);
        assert!(matches!(
            machine.step(given).outcome,
            Some(Outcome::Found { pending: true, .. })
        ));
        if found {
            machine.reply(asks[1], reply(asks[1]));
        }
        let outcome = machine.step(given + late).outcome.unwrap();
        assert_eq!(matches!(outcome, Outcome::Over), !found, "{outcome:?}");
    }
}

/// A search list of which each candidate gets the same from its only server for both families.
fn searched(candidates: &[Says]) -> End {
    let script = candidates.iter().map(|&says| [vec![says], vec![says]]);
    run(PACE, &seats(1), &script.collect()).end
}

#[test]
fn the_search_list_passes_servfail_not_silence() {
    assert_eq!(searched(&[NoName(1), NoData(1), Finds(1)]), BOTH);
    assert_eq!(searched(&[NoName(1), Fails(1), Finds(1)]), BOTH);
    assert_eq!(searched(&[NoName(1), Fails(1), NoName(1)]), End::Failed);
    assert_eq!(searched(&[NoName(1), Nothing, Finds(1)]), End::TimedOut);
    assert_eq!(searched(&[NoName(1), Closed(1), Finds(1)]), End::Failed);
    assert_eq!(searched(&[NoName(1), NoName(1)]), End::NotFound);
}

#[test]
fn a_demoted_server_is_asked_before_believing_nxdomain() {
    let mut seats = seats(2);
    seats[0].demoted = true;
    let of = |first, second| vec![[vec![first, second], vec![first, second]]];
    // It failed with replies: it is asked last, and still before "no such name" is believed.
    let ran = run(PACE, &seats, &of(Finds(20), NoName(5)));
    assert_eq!((ran.after, ran.end), (25, BOTH));
    let ran = run(PACE, &seats, &of(Finds(20), Finds(5)));
    assert_eq!((ran.after, ran.asked), (5, vec![0, 2]));
    // It failed by silence: it is not waited for.
    seats[0].silent = true;
    let ran = run(PACE, &seats, &of(Finds(20), NoName(5)));
    assert_eq!((ran.after, ran.end), (5, End::NotFound));
    let ran = run(PACE, &seats, &of(Finds(20), Fails(5)));
    assert_eq!((ran.after, ran.end), (25, BOTH));
}

#[test]
fn a_server_silent_for_the_hedge_is_overtaken() {
    let start = Instant::now();
    let mut machine = Lookup::new(PACE, seats(2), &[Family::V4], 1, start);
    machine.step(start);
    let asks = machine.step(start + ms(300)).asks;
    assert_eq!(asks.len(), 1);
    assert!(machine.overtaken(start + ms(300)).is_empty());
    machine.reply(asks[0], Finds(0).reply(Family::V4).unwrap().1);
    assert!(machine.step(start + ms(310)).outcome.is_some());
    assert_eq!(machine.overtaken(start + ms(310)), [0]);
}
