//! A small reference: looks at every millisecond, keeps nothing but when each query was sent, and
//! works everything else out anew from the script.

use proptest::prelude::*;

use super::*;

/// The time at which each server was first asked, by family.
type Sent = [Vec<Option<u64>>; 2];

fn replied(says: Says, sent: Option<u64>, now: u64) -> Option<Says> {
    let after = match says {
        Finds(after) | NoData(after) | NoName(after) | Fails(after) | Closed(after) => after,
        Nothing => return None,
    };
    sent.filter(|sent| sent + after <= now).map(|_| says)
}

/// The verdict on one question: any positive reply; else the first server in the configured order
/// that has not failed decides, and failing is also to be silent for 1.5 s.
fn verdict(
    says: &[Says],
    seats: &[Seat],
    sent: &[Option<u64>],
    began: u64,
    now: u64,
) -> Option<Says> {
    let reply = |place: usize| replied(says[place], sent[place], now);
    let places = 0..says.len();
    let found = |place| matches!(reply(place), Some(Finds(_)));
    if let Some(place) = places.clone().find(|&place| found(place)) {
        return reply(place);
    }
    let is_over = now >= began + 10_000;
    let mut waits = false;
    for place in places.clone() {
        match reply(place) {
            Some(negative @ (NoData(_) | NoName(_))) => return Some(negative),
            Some(_) => {}
            None if is_over => {}
            None => {
                let silent = sent[place].map_or(seats[place].silent, |sent| now >= sent + 1500);
                if !silent {
                    return None;
                }
                waits = true;
            }
        }
    }
    if waits && !is_over {
        return None;
    }
    let failed = |wanted: fn(&Says) -> bool| places.clone().filter_map(reply).find(wanted);
    failed(|says| matches!(says, Fails(_)))
        .or_else(|| failed(|says| matches!(says, Closed(_))))
        .or(Some(Nothing))
}

/// The server to ask now, if any.
fn next(says: &[Says], seats: &[Seat], sent: &[Option<u64>], now: u64) -> Option<usize> {
    let reply = |place: usize| replied(says[place], sent[place], now);
    let negative = |place: &usize| matches!(reply(*place), Some(NoData(_) | NoName(_)));
    let last_negative = (0..says.len()).filter(negative).max();
    if let Some(last) = last_negative {
        return (0..last).find(|&place| sent[place].is_none() && !seats[place].silent);
    }
    let mut order: Vec<usize> = (0..says.len()).collect();
    order.sort_by_key(|&place| (seats[place].demoted, seats[place].silent));
    let at = order.iter().position(|&place| sent[place].is_none())?;
    let may = match at.checked_sub(1).map(|before| order[before]) {
        None => true,
        Some(before) => {
            reply(before).is_some() || sent[before].is_some_and(|sent| now >= sent + 300)
        }
    };
    may.then_some(order[at])
}

/// The outcome of one candidate at `now`, if there is one.
fn outcome(verdicts: [Option<Says>; 2], settled: &mut Option<u64>, now: u64) -> Option<End> {
    let is_found = |verdict: Option<Says>| matches!(verdict, Some(Finds(_)));
    let [v4, v6] = verdicts;
    if let [Some(v4), Some(v6)] = verdicts {
        let fails = |says| matches!(says, Fails(_) | Closed(_) | Nothing);
        let both = [v4, v6];
        if both.iter().any(|&says| is_found(Some(says))) {
            return Some(End::Found {
                v4: is_found(Some(v4)),
                v6: is_found(Some(v6)),
                complete: !both.into_iter().any(fails),
            });
        }
        if matches!(v4, NoName(_)) || !both.into_iter().any(fails) {
            return Some(End::NotFound);
        }
        // A timeout goes before a closed port only by the order of families.
        let silent = |says: &&Says| matches!(says, Nothing | Closed(_));
        return Some(match both.iter().find(silent) {
            Some(Nothing) => End::TimedOut,
            _ => End::Failed,
        });
    }
    if is_found(v4) || is_found(v6) || matches!(v4, Some(NoName(_))) {
        let since = *settled.get_or_insert(now);
        if now < since + 50 {
            return None;
        }
        return Some(if is_found(v4) || is_found(v6) {
            End::Found {
                v4: is_found(v4),
                v6: is_found(v6),
                complete: false,
            }
        } else {
            End::NotFound
        });
    }
    None
}

/// The end of the lookup, and when.
fn reference(seats: &[Seat], script: &Script) -> (u64, End) {
    let (mut now, mut undecided) = (0, None);
    for candidate in script {
        let began = now;
        let mut sent: Sent = [vec![None; seats.len()], vec![None; seats.len()]];
        let mut settled = None;
        let (end, silent) = loop {
            let mut verdicts = [None; 2];
            for family in 0..2 {
                let says = &candidate[family];
                loop {
                    verdicts[family] = verdict(says, seats, &sent[family], began, now);
                    if verdicts[family].is_some() {
                        break;
                    }
                    let Some(server) = next(says, seats, &sent[family], now) else {
                        break;
                    };
                    sent[family][server] = Some(now);
                    // Replies that take no time come after the step.
                    if replied(says[server], sent[family][server], now).is_some() {
                        break;
                    }
                }
            }
            if let Some(end) = outcome(verdicts, &mut settled, now) {
                let silent = |verdict: &Option<Says>| matches!(verdict, Some(Nothing | Closed(_)));
                break (end, verdicts.iter().any(silent));
            }
            now += 1;
        };
        match end {
            End::NotFound => {}
            End::Failed | End::TimedOut if !silent => undecided = undecided.or(Some(end)),
            end => return (now, end),
        }
    }
    (now, undecided.unwrap_or(End::NotFound))
}

fn says() -> impl Strategy<Value = Says> {
    // From 1 ms: the reference looks at a millisecond once.
    let after = prop_oneof![
        1..60_u64,
        290..310_u64,
        1..2_000_u64,
        1_490..1_510_u64,
        1..11_000_u64
    ];
    (0..6, after).prop_map(|(kind, after)| match kind {
        0 => Finds(after),
        1 => NoData(after),
        2 => NoName(after),
        3 => Fails(after),
        4 => Closed(after),
        _ => Nothing,
    })
}

fn seat() -> impl Strategy<Value = (bool, bool)> {
    prop_oneof![3 => Just((false, false)), 1 => Just((true, false)), 1 => Just((true, true))]
}

fn cases() -> impl Strategy<Value = (Vec<Seat>, Script)> {
    (1..4_usize, 1..4_usize).prop_flat_map(|(servers, candidates)| {
        let family = move || proptest::collection::vec(says(), servers);
        let candidate = (family(), family()).prop_map(|(v4, v6)| [v4, v6]);
        let seats = proptest::collection::vec(seat(), servers);
        (seats, proptest::collection::vec(candidate, candidates)).prop_map(|(seats, script)| {
            let seat = |(server, (demoted, silent))| Seat {
                server,
                demoted,
                silent,
            };
            (seats.into_iter().enumerate().map(seat).collect(), script)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn machine_and_reference_agree_on_end_and_time((seats, script) in cases()) {
        let ran = run(PACE, &seats, &script);
        prop_assert_eq!((ran.after, ran.end), reference(&seats, &script));
        // Each server gets a query of each family, and up to two more when it is silent.
        let most = 3 * 2 * script.len();
        prop_assert!(ran.asked.iter().all(|&asked| asked <= most), "{:?}", ran.asked);
    }
}
