//! Ten minutes of a clock that stands still whenever anything moves.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_testing::io::{Dial, Plan};
use tollgate_testing::{Connector, Gate, Upstream};

use crate::common::ms;
use crate::harness::{Dice, Manner, Observed, script};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn plan(dial: &Dial) -> Plan {
    match dial.nth {
        nth if nth % 13 == 5 => Plan::fail(io::ErrorKind::ConnectionRefused).after(ms(3)),
        nth if nth % 29 == 3 => Plan::hang(),
        nth => Plan::connect().after(ms(nth as u64 % 30)),
    }
}

fn manner(dice: &mut Dice) -> Manner {
    let path = match dice.roll(20) {
        0 => "/close",
        1 => "/lost",
        2 | 3 => "/slow-body",
        _ => "/fast",
    };
    let holds = match dice.roll(6) {
        // What is kept unread must be whole, on a connection that the server keeps.
        0 if path == "/fast" => ms(1 + dice.roll(300)),
        _ => Duration::ZERO,
    };
    let patience = match dice.roll(8) {
        0 => ms(dice.roll(80)),
        _ => Duration::from_secs(60),
    };
    Manner {
        path,
        takes: ms(dice.roll(120)),
        patience,
        holds,
        reads: dice.roll(10) > 0,
    }
}

/// Everything that can run has run: the clock stands still meanwhile.
async fn quiet() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn a_run(seed: u64) -> (u64, usize) {
    let upstream = Upstream::start(script(&Gate::new())).await;
    let connector = Connector::memory(&upstream).script(plan);
    let layer = KeepAliveLayer::new()
        .max_waiting(6)
        .acquire_timeout(ms(700))
        .connect_timeout(ms(400))
        .idle_timeout(ms(2_500))
        .max_lifetime(Duration::from_secs(20));
    let mut observed = Observed::new(upstream, connector, layer);
    let mut dice = Dice(seed);
    let start = Instant::now();
    let mut looks = 0;
    while start.elapsed() < TEN_MINUTES {
        match dice.roll(40) {
            0 => observed.set_limit(1 + usize::try_from(dice.roll(6)).expect("is small")),
            1 if !observed.may_hold() => observed.upstream.close_idle(),
            2 if !observed.may_hold() => observed.upstream.write_idle("HTTP/1.1 408 X\r\n\r\n"),
            3 if !observed.may_hold() => observed.upstream.reset_all(),
            4 => sleep(ms(4_000)).await,
            5..30 => {
                for _ in 0..dice.roll(5) {
                    observed.call(manner(&mut dice));
                }
            }
            _ => {}
        }
        sleep(ms(1 + dice.roll(250))).await;
        quiet().await;
        let lies = observed.lies();
        assert!(
            lies.is_empty(),
            "seed {seed}, {:?}: {lies:#?} in {:#?}",
            start.elapsed(),
            observed.stats()
        );
        looks += 1;
    }
    while observed.under_way() > 0 {
        sleep(ms(10)).await;
    }
    quiet().await;
    assert_eq!(observed.lies(), Vec::<String>::new());
    let calls = observed.stats().expect("calls were made").demands();
    sleep(Duration::from_secs(1)).await;
    observed
        .let_go(async |all_is_over| {
            quiet().await;
            assert!(all_is_over());
        })
        .await;
    (calls, looks)
}

#[tokio::test(start_paused = true)]
async fn metrics_match_truth_over_ten_paused_minutes() {
    for seed in 1..=3 {
        let (calls, looks) = a_run(seed).await;
        assert!(
            calls > 2_000 && looks > 2_000,
            "{calls} calls, {looks} looks"
        );
    }
}
