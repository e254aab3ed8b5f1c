use super::*;
use crate::erlang::MAY_WAIT;

const MINUTE: Duration = Duration::from_secs(60);

/// A minute of independent arrivals, each served for 100 ms: what they meet has the variance of its
/// mean.
fn independent(load: u64) -> Totals {
    let arrivals = load * 600;
    Totals {
        arrivals,
        roomy: arrivals,
        granted: arrivals,
        met: arrivals * load,
        met_squared: arrivals * (load * load + load),
        uses: arrivals,
        use_nanos: arrivals * 100_000_000,
        ..Totals::default()
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn advice_is_least_connections_within_erlang_wait_limit() {
    for (load, connections) in [(5, 12), (20, 32), (100, 125), (500, 555)] {
        let advice = advise(&independent(load), MINUTE, None, 1).unwrap();
        assert_eq!(advice.connections, connections);
        assert!(close(advice.burstiness, 1.0), "{advice:?}");
        assert!(advice.waiting_then <= MAY_WAIT, "{advice:?}");
        let one_less = share_waiting(advice.offered_load, 1.0, connections - 1);
        assert!(one_less > MAY_WAIT, "{advice:?}: {one_less}");
    }
}

#[test]
fn arrivals_in_fives_want_more() {
    for (load, connections) in [(5, 18), (20, 41), (100, 144)] {
        let mut totals = independent(load);
        totals.met_squared = totals.arrivals * (load * load + 3 * load);
        let advice = advise(&totals, MINUTE, None, 1).unwrap();
        assert_eq!(advice.connections, connections, "{advice:?}");
        assert!(close(advice.burstiness, 3.0), "{advice:?}");
    }
}

#[test]
fn few_or_unending_requests_give_no_advice() {
    let mut totals = independent(20);
    totals.arrivals = MIN_REQUESTS - 1;
    assert_eq!(advise(&totals, MINUTE, None, 1), None);
    assert_eq!(advise(&independent(20), Duration::ZERO, None, 1), None);
    let mut hung = independent(20);
    hung.uses = hung.granted / 2 - 1;
    assert_eq!(advise(&hung, MINUTE, None, 1), None);
    let nothing_ends = Totals {
        arrivals: 10_000,
        ..Totals::default()
    };
    assert_eq!(advise(&nothing_ends, MINUTE, Some(4), 1), None);
}

#[test]
fn queued_and_refused_requests_count_as_offered_load() {
    let mut totals = independent(20);
    // Three quarters found the queue or were refused; the rest met no more than a limit lets them.
    totals.roomy = totals.arrivals / 4;
    totals.met = totals.roomy * 5;
    totals.met_squared = totals.roomy * 27;
    totals.granted = totals.arrivals / 2;
    (totals.uses, totals.use_nanos) = (totals.granted, totals.granted * 100_000_000);
    let advice = advise(&totals, MINUTE, Some(10), 1).unwrap();
    assert!(close(advice.offered_load, 20.0), "{advice:?}");
    assert_eq!((advice.connections, advice.verdict), (32, Verdict::Raise));
}

#[test]
fn an_unbounded_limit_advises_no_wait() {
    for each in [1, 100] {
        let advice = advise(&independent(500), MINUTE, Some(u64::MAX), each).unwrap();
        assert_eq!(
            (advice.verdict, advice.waiting_now),
            (Verdict::Enough, Some(0.0))
        );
    }
}

#[test]
fn advice_raises_a_limit_below_the_load() {
    let advise = |limit| advise(&independent(20), MINUTE, Some(limit), 1).unwrap();
    let low = advise(19);
    assert_eq!((low.connections, low.verdict), (32, Verdict::Raise));
    assert!(close(low.waiting_now.unwrap(), 1.0));
    let fine = advise(32);
    assert_eq!((fine.connections, fine.verdict), (32, Verdict::Enough));
    assert!(fine.waiting_now.unwrap() <= MAY_WAIT);
}

#[test]
fn upstream_slower_under_load_gets_no_more_connections() {
    let mut totals = independent(20);
    (totals.busy, totals.busy_nanos) = (6_000, 6_000 * 130_000_000);
    let verdict = |totals: &Totals| {
        let advice = advise(totals, MINUTE, Some(24), 1).unwrap();
        (advice.connections, advice.verdict)
    };
    // 130 ms beside 70 ms.
    assert_eq!(verdict(&totals), (24, Verdict::SlowUpstream));
    totals.busy_nanos = 6_000 * 110_000_000;
    assert_eq!(verdict(&totals), (32, Verdict::Raise));
    (totals.busy, totals.busy_nanos) = (MIN_COMPARED - 1, (MIN_COMPARED - 1) * 900_000_000);
    assert_eq!(verdict(&totals), (32, Verdict::Raise), "too few to compare");
}

#[test]
fn a_connection_of_many_streams_counts_as_many() {
    let advice = advise(&independent(100), MINUTE, Some(1), 100).unwrap();
    assert_eq!((advice.connections, advice.verdict), (2, Verdict::Raise));
    assert!(advice.waiting_then <= MAY_WAIT);
}

#[test]
fn difference_of_totals_survives_a_wrapped_counter() {
    let before = Totals {
        use_nanos: u64::MAX - 4,
        ..Totals::default()
    };
    let after = Totals {
        use_nanos: 5,
        ..Totals::default()
    };
    assert_eq!(after.since(&before).use_nanos, 10);
}
