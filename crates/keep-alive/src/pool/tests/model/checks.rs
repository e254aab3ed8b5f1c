//! What holds when the runtime has come to rest, and when all is over.

use tokio::time::Instant;

use super::ORIGINS;
use super::network::Speaks;
use super::world::{World, origin};
use crate::pool::origin_pool::OriginPool;

impl World {
    pub(super) fn check(&mut self) {
        let now = self.runtimes.now();
        let live = self.network.lock().live;
        let mut used = 0;
        let mut idle = 0;
        let mut all_beside = 0;
        for (of, live) in live.into_iter().enumerate() {
            let counts = self.seen.of(of);
            assert!(
                self.asked[of] || counts.started == 0,
                "{of}: a dial for a call that is not polled"
            );
            let dialling = counts.started - counts.opened - counts.failed;
            let stats = self.pool().stats(&origin(of));
            let beside = self.beside(of);
            self.check_caps(of, live + dialling, beside);
            assert_eq!(
                counts.opened - counts.closed,
                live,
                "sockets of {of} that the observer knows"
            );
            used += live + dialling;
            all_beside += beside;
            idle += stats.map_or(0, |stats| stats.idle);
        }
        if let Some(total) = self.setup.total {
            assert!(
                used <= total + all_beside,
                "{used} sockets and dials of {total} in all"
            );
            let cap = self.shared.total.as_ref().unwrap();
            let held = cap.held();
            assert_eq!(
                held,
                used - all_beside,
                "places of the total cap that are held"
            );
            let pools = self.pool().all_origins();
            let places: usize = pools.iter().map(|pool| pool.lock().engine.places()).sum();
            assert_eq!(held, places, "places held and used");
            if cap.is_blocking() {
                assert!(
                    used >= total,
                    "an origin waits for one of {total} places, {used} used"
                );
                // One that is being closed may be on a runtime that is driven with the next step.
                assert!(
                    idle == 0 || !cap.is_short(),
                    "an origin waits for a place beside an idle connection"
                );
            }
        }
        for pool in self.pool().all_origins() {
            self.check_origin(&pool, now);
        }
    }

    /// Those that waited before the step are served in the order in which they were made, and before
    /// any that came with it.
    pub(super) fn check_order(&mut self, waited: &[(usize, usize)]) {
        // What one runtime is granted on a connection of another's reaches its peer by way of both.
        for _ in 1..self.runtimes.len() * 2 {
            if self.passed(waited).is_some() {
                self.rest();
            }
        }
        let passed = self.passed(waited);
        assert_eq!(passed, None, "a call waits, and a later one was served");
        let arrived = self.network.lock().arrived.len();
        let before = std::mem::replace(&mut self.arrived, arrived);
        let several = self.runtimes.len() > 1;
        self.arrived_before = if several { before } else { arrived };
    }

    /// A call that still waits, and a later one that was served meanwhile.
    fn passed(&self, waited: &[(usize, usize)]) -> Option<(usize, usize)> {
        let state = self.network.lock();
        let (before, new) = state.arrived.split_at(self.arrived);
        // A call whose connection ends beneath it is not served, and others with it over HTTP/2; on
        // another runtime that may be seen a step later.
        let mut lately = state.arrived[self.arrived_before..].iter();
        if self.lossy || lately.any(|call| self.lossy_calls.contains(call)) {
            return None;
        }
        let still = |call: usize| {
            self.calls
                .iter()
                .any(|one| one.number == call && one.runs())
        };
        let pools = self.pool().all_origins();
        // Under pressure those that came last may be served first.
        let turned: Vec<_> = pools
            .iter()
            .filter(|pool| pool.lock().engine.stats().totals.turns > 0)
            .map(|pool| pool.origin.clone())
            .collect();
        waited.iter().find_map(|&(older, of)| {
            let is_asked = !turned.contains(&origin(of))
                && !self.lost.contains(&older)
                && !before.contains(&older)
                && !new.contains(&older)
                && still(older);
            let past = new.iter().filter(|_| is_asked).find(|&&call| {
                let same = self.calls.iter().any(|one| one.name() == (call, of));
                same && call > older && !before.contains(&call)
            });
            Some((older, *past?))
        })
    }

    /// The connections of an origin that drain, or are past their age, beside their replacements: they
    /// are counted under no cap but their own.
    fn beside(&self, of: usize) -> usize {
        let pools = self.pool().all_origins();
        let pool = pools.iter().find(|pool| pool.origin == origin(of));
        let beside = pool.map_or(0, |pool| {
            let engine = &pool.lock().engine;
            let beside = engine.sockets() - engine.places();
            assert!(
                beside <= engine.config().max_draining,
                "{of}: {beside} drain"
            );
            beside
        });
        assert!(
            beside == 0 || self.setup.speaks != Speaks::Http1,
            "only streams drain beside others"
        );
        beside
    }

    fn check_caps(&mut self, of: usize, used: usize, beside: usize) {
        let most = &mut self.most[of];
        let counted = used - beside;
        *most = counted.min(*most).max(self.caps[of]);
        assert!(
            counted <= *most,
            "{used} sockets and dials of {of}, which may have {most}"
        );
    }

    fn check_origin(&self, pool: &OriginPool, now: Instant) {
        let stats = pool.stats();
        let of: usize = pool
            .origin
            .host()
            .trim_end_matches(".test")
            .parse()
            .unwrap();
        let counts = self.seen.of(of);
        let over = stats.granted + stats.refused + stats.failed + stats.timed_out + stats.cancelled;
        assert!(stats.requests >= over, "{stats:?}");
        let open_tickets = usize::try_from(stats.requests - over).unwrap();
        assert!(stats.queued <= open_tickets, "{stats:?}");
        assert_eq!(
            counts.queued - counts.waits_over,
            open_tickets,
            "waits begun and over: {stats:?}"
        );
        // A ticket may have a reservation that its call has yet to collect, and a body may outlive its
        // connection.
        let leases = counts.granted - counts.released;
        assert!(
            stats.in_flight <= leases + open_tickets - stats.queued,
            "leases that the observer knows: {leases}, {stats:?}"
        );
        let here = self.calls.iter().filter(|call| call.origin == of).count();
        assert!(
            leases <= here + taken_in(pool, now),
            "leases without a call: {leases}, {stats:?}"
        );
        assert_eq!(stats.open, stats.active + stats.idle, "{stats:?}");
        let made = self
            .calls
            .iter()
            .filter(|call| call.is_made() && call.origin == of)
            .count();
        assert!(
            stats.queued == 0 || stats.idle == 0,
            "{of} waits beside an idle connection: {stats:?}"
        );
        let running = self
            .calls
            .iter()
            .filter(|call| call.runs() && call.origin == of)
            .count();
        assert!(
            open_tickets <= running + made,
            "tickets without a call: {stats:?}"
        );
        let polled = stats.queued.saturating_sub(made);
        let unmet = if self.setup.speaks == Speaks::Http1 {
            polled > stats.connecting
        } else {
            polled > 0 && stats.connecting == 0
        };
        // A pause that ends at this very moment is the clock's to see, which may come after this, and
        // with several runtimes a turn later still. Nothing is dialled for those that are not polled.
        let lately = now - self.rested;
        if unmet && pool.lock().engine.wants_open(lately) {
            let total = self.shared.total.as_ref();
            assert!(
                total.is_some_and(|total| total.is_blocking()),
                "{of} wants a dial that is not started: {stats:?}"
            );
        }
    }

    pub(super) fn check_end(&self) {
        let live = self.network.lock().live;
        assert_eq!(live, [0; ORIGINS], "sockets are left");
        for of in 0..ORIGINS {
            let counts = self.seen.of(of);
            assert_eq!(counts.granted, counts.released, "{of}: {counts:?}");
            assert_eq!(counts.queued, counts.waits_over, "{of}: {counts:?}");
            assert_eq!(
                counts.started,
                counts.opened + counts.failed,
                "{of}: {counts:?}"
            );
            assert_eq!(counts.opened, counts.closed, "{of}: {counts:?}");
            assert_eq!(counts.limit, 0, "{of}: {counts:?}");
            assert!(
                self.shared.origins_of(origin(of).host()).is_empty(),
                "{of} is in use"
            );
        }
        if let Some(total) = &self.shared.total {
            assert_eq!(total.held(), 0, "places of the total cap are left");
            assert!(!total.is_blocking());
        }
        if let Some(pool) = &self.pool {
            assert!(pool.all_origins().is_empty(), "origins are left");
        }
        assert!(!self.shared.is_busy());
    }
}

/// The answers that may be taken in for calls that were given up, as one is that is due soon.
fn taken_in(pool: &OriginPool, now: Instant) -> usize {
    let inner = pool.lock();
    let conns = inner.conns.iter().flatten().map(|entry| &entry.conn);
    let until = conns.filter_map(|conn| conn.parked_until());
    until.filter(|until| *until >= now).count()
}
