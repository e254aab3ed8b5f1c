use proptest::prelude::*;

use super::*;

const PACE: Pace = Pace {
    attempt_delay: Duration::from_millis(250),
    max_concurrent: 6,
    first_family_count: 1,
};

fn addr(v6: bool, n: u16) -> SocketAddr {
    if v6 {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 443))
    } else {
        SocketAddr::from(([192, 0, 2, 1], n + 1))
    }
}

/// The end of an attempt at one address.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Connects(u64),
    Fails(u64, Bars),
    Nothing,
}

fn fates() -> impl Strategy<Value = Vec<(bool, Fate)>> {
    let bars = prop_oneof![
        8 => Just(Bars::None),
        1 => Just(Bars::FamilyLast),
        1 => Just(Bars::Family),
        1 => Just(Bars::All),
    ];
    let fate = prop_oneof![
        1 => (0u64..1500).prop_map(Fate::Connects),
        4 => (0u64..1500, bars).prop_map(|(after, bars)| Fate::Fails(after, bars)),
        2 => Just(Fate::Nothing),
    ];
    prop::collection::vec((any::<bool>(), fate), 0..24)
}

/// A run of a race in steps of a millisecond.
#[derive(Debug, Default)]
struct Run {
    starts: Vec<(u64, SocketAddr)>,
    failures: Vec<u64>,
    winners: usize,
    peak: usize,
    given_up: usize,
    exhausted: bool,
}

fn run(fates: &[(bool, Fate)], pace: Pace) -> (Run, Race) {
    run_with_late(fates, pace, fates.len(), 0)
}

/// The addresses from number `early` on join after `late` milliseconds.
fn run_with_late(fates: &[(bool, Fate)], pace: Pace, early: usize, late: u64) -> (Run, Race) {
    let addrs: Vec<_> = (0..).zip(fates).map(|(n, (v6, _))| addr(*v6, n)).collect();
    let fate_of = |at: SocketAddr| fates[addrs.iter().position(|addr| *addr == at).unwrap()].1;
    let began = Instant::now();
    let (first, rest) = addrs.split_at(early);
    let mut race = Race::new(pace, began, interleave(first.to_vec(), 1));
    let mut open: Vec<(usize, u64, Fate)> = Vec::new();
    let mut seen = Run::default();
    for at in 0..20_000 {
        if at == late {
            race.join(rest.to_vec(), began + Duration::from_millis(at));
        }
        let ended = open.iter().position(|(_, started, fate)| match fate {
            Fate::Connects(after) | Fate::Fails(after, _) => started + after <= at,
            Fate::Nothing => false,
        });
        if let Some(ended) = ended {
            let (number, _, fate) = open.remove(ended);
            if let Fate::Fails(_, bars) = fate {
                race.failed(number, ConnectErrorKind::Refused, bars);
                seen.failures.push(at);
            } else {
                race.won(number);
                seen.winners += 1;
                break;
            }
        }
        match race.step(began + Duration::from_millis(at)) {
            Step::Start(number, addr) => {
                open.push((number, at, fate_of(addr)));
                seen.starts.push((at, addr));
                seen.peak = seen.peak.max(open.len());
            }
            Step::GiveUp(number, _) => {
                open.retain(|(open, ..)| *open != number);
                seen.given_up += 1;
            }
            Step::Exhausted if at < late && race.is_open_to_more() => {}
            Step::Exhausted => {
                seen.exhausted = true;
                break;
            }
            Step::Wait if open.is_empty() => panic!("waits for nothing"),
            Step::Wait | Step::WaitUntil(_) => {}
        }
    }
    (seen, race)
}

proptest! {
    #[test]
    fn only_a_failure_shortens_the_attempt_delay(
        fates in fates(),
        delay in 1u64..600,
        cap in 1usize..8,
    ) {
        let pace = Pace {
            attempt_delay: Duration::from_millis(delay),
            max_concurrent: cap,
            ..PACE
        };
        let (seen, _) = run(&fates, pace);
        for pair in seen.starts.windows(2) {
            let (from, to) = (pair[0].0, pair[1].0);
            prop_assert!(to - from >= 10);
            let failed_between = seen.failures.iter().any(|at| (from..=to).contains(at));
            prop_assert!(to - from >= delay || failed_between);
        }
        prop_assert!(seen.peak <= cap);
    }

    #[test]
    fn attempts_are_unique_and_at_most_one_wins(fates in fates()) {
        let (seen, race) = run(&fates, PACE);
        let mut addrs: Vec<_> = seen.starts.iter().map(|(_, addr)| *addr).collect();
        addrs.sort();
        addrs.dedup();
        prop_assert_eq!(addrs.len(), seen.starts.len());
        let connected = race.attempts().iter().filter(|a| a.outcome == AttemptOutcome::Connected);
        prop_assert_eq!(connected.count(), seen.winners);
        if seen.winners == 1 {
            let pending = race.attempts().iter().any(|a| a.outcome == AttemptOutcome::Pending);
            prop_assert!(!pending, "the losers are given up");
        }
    }

    #[test]
    fn a_race_ends_unless_an_attempt_stays_silent(fates in fates()) {
        let (seen, race) = run(&fates, PACE);
        let silent = race.attempts().iter().any(|a| a.outcome == AttemptOutcome::Pending);
        prop_assert!(seen.winners == 1 || seen.exhausted || silent);
        if seen.exhausted {
            let failed = |a: &Attempt| matches!(a.outcome, AttemptOutcome::Failed(_));
            prop_assert!(race.attempts().iter().all(failed));
        }
    }

    #[test]
    fn a_connecting_address_is_reached_unless_barred(mut fates in fates()) {
        for (_, fate) in &mut fates {
            match fate {
                Fate::Fails(_, bars) => *bars = Bars::None,
                // Silent ones hold their place for good; six of them fill the race.
                Fate::Nothing => *fate = Fate::Fails(700, Bars::None),
                Fate::Connects(_) => {}
            }
        }
        let connects = fates.iter().any(|(_, fate)| matches!(fate, Fate::Connects(_)));
        // Within the second after which it may have to make room.
        let soon = fates.iter().any(|(_, fate)| matches!(fate, Fate::Connects(0..1000)));
        let (seen, _) = run(&fates, PACE);
        prop_assert!(seen.winners == 1 || !soon);
        prop_assert!(seen.winners == 0 || connects);
    }

    #[test]
    fn silent_addresses_never_hide_one_that_connects(
        fates in fates(),
        cap in 1usize..8,
    ) {
        let fates: Vec<_> = fates
            .into_iter()
            .map(|(v6, fate)| match fate {
                Fate::Fails(after, _) => (v6, Fate::Fails(after, Bars::None)),
                fate => (v6, fate),
            })
            .collect();
        let pace = Pace { max_concurrent: cap, ..PACE };
        let (seen, _) = run(&fates, pace);
        // Within the second after which an attempt may have to make room.
        let good = fates.iter().any(|(_, fate)| matches!(fate, Fate::Connects(0..1000)));
        prop_assert!(seen.winners == 1 || !good);
        prop_assert!(seen.peak <= cap);
    }

    #[test]
    fn every_address_is_started_within_a_short_budget(
        addresses in 1u16..5,
        budget in 60u64..2000,
    ) {
        let began = Instant::now();
        let ends = began + Duration::from_millis(budget);
        let addrs = (0..addresses).map(|n| addr(n % 2 == 0, n)).collect();
        let mut race = Race::new(PACE, began, addrs).until(Some(ends), began);
        for at in 0..budget {
            let _ = race.step(began + Duration::from_millis(at));
        }
        prop_assert_eq!(race.attempts().len(), usize::from(addresses));
        let last = race.attempts().last().unwrap().started_after;
        let share = Duration::from_millis(budget / u64::from(addresses));
        prop_assert!(last + share / 2 <= Duration::from_millis(budget), "{last:?} of {budget}");
        let timed_out = race.expire(ends);
        prop_assert!(!timed_out.is_empty(), "a race that is out of time teaches something");
    }

    #[test]
    fn late_addresses_start_once_at_the_tail(
        mut fates in fates(),
        early in 0usize..24,
        late in 0u64..5000,
    ) {
        for (_, fate) in &mut fates {
            if !matches!(fate, Fate::Connects(_)) {
                *fate = Fate::Fails(700, Bars::None);
            }
        }
        let early = early.min(fates.len());
        let (seen, _) = run_with_late(&fates, PACE, early, late);
        let connects = fates.iter().any(|(_, fate)| matches!(fate, Fate::Connects(_)));
        // Within the second after which it may have to make room.
        let soon = fates.iter().any(|(_, fate)| matches!(fate, Fate::Connects(0..1000)));
        prop_assert!(seen.winners == 1 || !soon);
        prop_assert!(seen.winners == 0 || connects);
        let numbered = (0..).zip(&fates).map(|(n, (v6, _))| addr(*v6, n));
        let first: Vec<_> = numbered.take(early).collect();
        let is_first = seen.starts.iter().map(|(_, addr)| first.contains(addr));
        prop_assert!(is_first.is_sorted_by(|a, b| a >= b), "the tail is the tail");
        let mut addrs: Vec<_> = seen.starts.iter().map(|(_, addr)| *addr).collect();
        addrs.sort();
        addrs.dedup();
        prop_assert_eq!(addrs.len(), seen.starts.len());
        prop_assert!(seen.starts.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10));
    }

    #[test]
    fn interleaving_keeps_the_order_within_families(
        families in prop::collection::vec(any::<bool>(), 0..20),
    ) {
        let addrs: Vec<_> = (0..).zip(&families).map(|(n, v6)| addr(*v6, n)).collect();
        let twice = addrs.iter().chain(&addrs).copied();
        let mixed = interleave(twice, 1);
        prop_assert_eq!(mixed.len(), addrs.len());
        prop_assert_eq!(mixed.first(), addrs.first());
        for v4 in [false, true] {
            let of = |list: &[SocketAddr]| -> Vec<_> {
                list.iter().copied().filter(|addr| addr.is_ipv4() == v4).collect()
            };
            prop_assert_eq!(of(&mixed), of(&addrs));
        }
        let alternating = 2 * families.iter().filter(|v6| **v6).count().min(
            families.iter().filter(|v6| !**v6).count());
        let turns = mixed[..alternating].windows(2);
        prop_assert!(turns.clone().all(|pair| pair[0].is_ipv4() != pair[1].is_ipv4()));
    }
}

#[test]
fn a_short_attempt_at_expiry_blames_no_address() {
    let began = Instant::now();
    let mut race = Race::new(PACE, began, vec![addr(false, 1), addr(false, 2)]);
    race.step(began);
    race.step(began + PACE.attempt_delay);
    race.expire(began + Duration::from_secs(1));
    let outcomes: Vec<_> = race.attempts().iter().map(|a| a.outcome).collect();
    let timed_out = AttemptOutcome::Failed(ConnectErrorKind::Timeout);
    assert_eq!(outcomes, [timed_out, AttemptOutcome::Pending]);
}

#[test]
fn the_first_family_count_goes_ahead() {
    let [a, b, c] = [1, 2, 3].map(|n| addr(true, n));
    let other = [1, 2].map(|n| addr(false, n));
    let addrs = [a, b, c, other[0], other[1]];
    assert_eq!(interleave(addrs, 1), [a, other[0], b, other[1], c]);
    assert_eq!(interleave(addrs, 2), [a, b, other[0], c, other[1]]);
    assert_eq!(interleave(addrs, 9), addrs);
}

#[test]
fn joined_addresses_go_last_without_barred_families() {
    let began = Instant::now();
    let [first, second] = [1, 2].map(|n| addr(false, n));
    let late = [addr(true, 1), addr(false, 3)];
    let mut race = Race::new(PACE, began, vec![first, second]);
    assert_eq!(race.step(began), Step::Start(0, first));
    race.join(late.to_vec(), began);
    let mut starts = Vec::new();
    for n in 1..4 {
        match race.step(began + PACE.attempt_delay * n) {
            Step::Start(_, addr) => starts.push(addr),
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(starts, [second, late[0], late[1]]);
    assert!(race.has(first) && race.has(late[1]) && !race.has(addr(true, 2)));

    let mut race = Race::new(PACE, began, vec![first]);
    race.step(began);
    race.failed(0, ConnectErrorKind::Other, Bars::Family);
    assert!(race.is_open_to_more());
    race.join(late.to_vec(), began);
    let at = began + MIN_GAP;
    assert_eq!(race.step(at), Step::Start(1, late[0]));
    race.failed(1, ConnectErrorKind::TooManyOpenFiles, Bars::All);
    assert!(!race.is_open_to_more());
    assert_eq!(race.step(at + MIN_GAP), Step::Exhausted);
}
