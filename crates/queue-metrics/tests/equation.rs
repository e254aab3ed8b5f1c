//! Whatever happens, the numbers add up: invariant A10, over random legal sequences of events.
#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::{Recorder, Tell, ms, origin};
use proptest::prelude::*;
use tollgate_core::{CloseReason, ConnectErrorKind, RefuseReason};
use tollgate_queue_metrics::{OriginStats, PoolMetrics};

/// What a pool might do next; whether it can depends on its state.
#[derive(Clone, Copy, Debug)]
enum Step {
    Demand,
    Dial,
    DialEnds { well: bool },
    LeaseEnds,
    WaiterLeaves(u8),
    Close(u8),
    Refuse,
    Retry,
    Report,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Demand),
        3 => Just(Step::Dial),
        3 => any::<bool>().prop_map(|well| Step::DialEnds { well }),
        5 => Just(Step::LeaseEnds),
        1 => any::<u8>().prop_map(Step::WaiterLeaves),
        1 => any::<u8>().prop_map(Step::Close),
        1 => Just(Step::Refuse),
        1 => Just(Step::Retry),
        1 => Just(Step::Report),
    ];
    proptest::collection::vec(step, 1..300)
}

/// A pool that only tells: HTTP/1, no limit, connections by number.
struct Model<'a> {
    tell: Tell<'a, PoolMetrics>,
    demands: u64,
    granted: u64,
    waiting: u64,
    dialling: u64,
    idle: VecDeque<u64>,
    leased: VecDeque<u64>,
    opened: u64,
    closed: u64,
}

impl<'a> Model<'a> {
    fn new(observer: &'a PoolMetrics, to: &str) -> Self {
        Self {
            tell: Tell {
                observer,
                origin: origin(to),
            },
            demands: 0,
            granted: 0,
            waiting: 0,
            dialling: 0,
            idle: VecDeque::new(),
            leased: VecDeque::new(),
            opened: 0,
            closed: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Demand => self.demand(),
            Step::Dial => {
                self.dialling += 1;
                self.tell.connect_started();
            }
            Step::DialEnds { well } if self.dialling > 0 => self.dial_ends(well),
            Step::LeaseEnds => self.lease_ends(),
            Step::WaiterLeaves(why) if self.waiting > 0 => {
                let reason = RefuseReason::ALL[usize::from(why) % RefuseReason::ALL.len()];
                self.waiting -= 1;
                self.tell.refused(reason, ms(u64::from(why) + 1));
            }
            Step::Close(why) => self.close(why),
            Step::Refuse => {
                self.demands += 1;
                self.tell.refused(RefuseReason::QueueFull, Duration::ZERO);
            }
            Step::Retry => self.tell.retried(2),
            Step::Report => self.tell.observer.report(),
            Step::DialEnds { .. } | Step::WaiterLeaves(_) => {}
        }
    }

    fn demand(&mut self) {
        self.demands += 1;
        if let Some(connection) = self.idle.pop_back() {
            self.granted += 1;
            self.leased.push_back(connection);
            self.tell.granted(Duration::ZERO, true);
        } else {
            self.tell
                .queued(usize::try_from(self.waiting).expect("few"));
            self.waiting += 1;
        }
    }

    fn dial_ends(&mut self, well: bool) {
        self.dialling -= 1;
        if well {
            self.opened += 1;
            self.tell.opened(self.opened, ms(20));
            self.idle.push_back(self.opened);
            self.serve(false);
        } else {
            self.tell.connect_failed(ConnectErrorKind::Timeout);
        }
    }

    /// The head of the queue gets what is idle.
    fn serve(&mut self, reused: bool) {
        if self.waiting > 0 {
            self.waiting -= 1;
            self.granted += 1;
            self.leased.extend(self.idle.pop_back());
            self.tell.granted(Duration::from_nanos(1), reused);
        }
    }

    fn lease_ends(&mut self) {
        if let Some(connection) = self.leased.pop_front() {
            self.tell.released(ms(5));
            self.idle.push_back(connection);
            self.serve(true);
        }
    }

    fn close(&mut self, why: u8) {
        let reason = CloseReason::ALL[usize::from(why) % CloseReason::ALL.len()];
        if let Some(connection) = self.idle.pop_front() {
            self.closed += 1;
            self.tell.closed(connection, reason);
        }
    }

    fn check(&self, stats: &OriginStats) {
        assert_eq!(stats.demands(), self.demands);
        assert_eq!((stats.granted, stats.queued), (self.granted, self.waiting));
        assert_eq!(stats.in_flight, self.leased.len() as u64);
        assert_eq!(stats.active, self.leased.len() as u64);
        assert_eq!(stats.idle, self.idle.len() as u64);
        assert_eq!(stats.open, stats.opened - self.closed);
        assert_eq!(stats.connecting, self.dialling);
        assert_eq!(stats.granted, stats.uses.count + stats.in_flight);
    }

    /// Everybody gets an answer, everything is given back and closed.
    fn wind_down(&mut self) {
        while self.waiting > 0 {
            self.step(Step::Dial);
            self.step(Step::DialEnds { well: true });
        }
        while self.dialling > 0 {
            self.step(Step::DialEnds { well: false });
        }
        while !self.leased.is_empty() {
            self.step(Step::LeaseEnds);
        }
        while !self.idle.is_empty() {
            self.step(Step::Close(14));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn demands_add_up_and_gauges_return_to_zero(
        steps in proptest::collection::vec((0..2_usize, steps()), 1..4),
    ) {
        let metrics = PoolMetrics::new();
        let recorder = Recorder::new();
        let names = ["http://a.test", "https://b.test"];
        let mut models = names.map(|to| Model::new(&metrics, to));
        recorder.run(|| {
            for (which, steps) in steps {
                for step in steps {
                    models[which].step(step);
                    let snapshot = metrics.snapshot();
                    let own = |o: &&OriginStats| names[which].contains(&o.server_address);
                    if let Some(stats) = snapshot.origins.iter().find(own) {
                        models[which].check(stats);
                    }
                }
            }
            models.iter_mut().for_each(Model::wind_down);
            // A peak is in three reports.
            (0..4).for_each(|_| metrics.report());
        });
        let gauges = ["open_connections", "opening", "active_requests", "queued_requests"];
        for (series, value) in recorder.series() {
            if gauges.iter().any(|gauge| series.contains(gauge)) {
                prop_assert_eq!(value, 0.0, "{}", series);
            }
        }
    }
}
