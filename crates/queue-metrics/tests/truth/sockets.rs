//! Real sockets: rounds of calls that the server holds, so that everything comes to rest, and lets go.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Upstream};

use crate::common::ms;
use crate::harness::{Dice, Manner, Observed, PATIENCE, script, seconds};

/// Waits until `holds` and the server's counters have not moved for a while; then nothing may lie.
async fn rest(observed: &Observed, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = observed.upstream.stats();
        let truthful = observed.lies().is_empty();
        sleep(ms(3)).await;
        if truthful && holds() && before == observed.upstream.stats() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{:#?} in {:#?}",
            observed.lies(),
            observed.stats()
        );
    }
}

fn manner(dice: &mut Dice) -> Manner {
    let path = match dice.roll(10) {
        0 => "/close",
        1 => "/lost",
        2 => "/slow-body",
        3..6 => "/fast",
        _ => "/gate",
    };
    Manner {
        path,
        takes: ms(dice.roll(10)),
        patience: match dice.roll(10) {
            0 => ms(dice.roll(10)),
            _ => Duration::from_secs(60),
        },
        holds: Duration::ZERO,
        reads: dice.roll(10) > 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_match_the_truth_on_real_sockets() {
    let gate = Gate::new();
    let upstream = Upstream::start(script(&gate)).await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth % 31 {
        7 => Plan::fail(io::ErrorKind::ConnectionRefused),
        _ => Plan::connect(),
    });
    let layer = KeepAliveLayer::new()
        .max_waiting(12)
        .acquire_timeout(4 * PATIENCE);
    let mut observed = Observed::new(upstream, connector, layer);
    let mut dice = Dice(7);
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut rounds = 0;
    while Instant::now() < end {
        match dice.roll(8) {
            0 => observed.set_limit(1 + usize::try_from(dice.roll(8)).expect("is small")),
            1 => observed.upstream.close_idle(),
            2 => observed.upstream.reset_all(),
            3 => observed.pool.close_idle(),
            _ => {}
        }
        gate.close();
        for _ in 0..dice.roll(20) {
            observed.call(manner(&mut dice));
        }
        rest(&observed, || {
            let server = observed.upstream.stats();
            let busy = server.live - server.idle;
            // What the peer's ceiling, learnt from failed opens, leaves of the limit.
            let wanted = observed.under_way().min(observed.limit);
            let learnt = observed.peer_limit().unwrap_or(wanted);
            observed.connector.stats().dialling == 0
                && !observed.may_leave()
                && (wanted.min(learnt)..=wanted).contains(&busy)
                && gate.waiters() == busy
        })
        .await;
        gate.open();
        rest(&observed, || observed.under_way() == 0).await;
        rounds += 1;
    }
    assert!(rounds > 20, "{rounds}");
    observed
        .let_go(async |all_is_over| {
            let deadline = Instant::now() + PATIENCE;
            while !all_is_over() {
                assert!(Instant::now() < deadline);
                sleep(ms(1)).await;
            }
        })
        .await;
}
