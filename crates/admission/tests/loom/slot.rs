//! A value that is parked while the exchange it waits for is settled.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use tollgate_admission::Slot;

/// A connection and the number of exchanges that are settled on it. Read and written with
/// read-modify-writes, which is how loom has sequential consistency.
struct Connection {
    slot: Slot<usize>,
    settled: AtomicUsize,
    collected: AtomicUsize,
    exchanges: usize,
}

impl Connection {
    fn new(exchanges: usize) -> Arc<Self> {
        Arc::new(Self {
            slot: Slot::new(),
            settled: AtomicUsize::new(0),
            collected: AtomicUsize::new(0),
            exchanges,
        })
    }

    fn is_settled(&self, exchange: usize) -> bool {
        self.settled.fetch_add(0, Ordering::SeqCst) >= exchange
    }

    /// The caller of `exchange` is done.
    fn park(&self, exchange: usize) {
        let lease = self.slot.park(exchange, |&parked| self.is_settled(parked));
        self.give_back(lease);
    }

    /// A turn of the driver in which nothing is settled.
    fn turn(&self) {
        let lease = self.slot.collect(|&parked| self.is_settled(parked));
        self.give_back(lease);
    }

    /// A turn of the driver that settles the next exchange.
    fn settle(&self) {
        self.settled.fetch_add(1, Ordering::SeqCst);
        self.turn();
    }

    /// Whoever takes a lease back hands it on; the next caller is done at once, too.
    fn give_back(&self, lease: Option<usize>) {
        let Some(exchange) = lease else { return };
        let collected = self.collected.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(collected, exchange, "each is collected once, in order");
        if exchange < self.exchanges {
            self.park(exchange + 1);
        }
    }

    fn all_collected(&self) {
        let collected = self.collected.fetch_add(0, Ordering::SeqCst);
        assert_eq!(collected, self.exchanges);
        assert!(!self.slot.is_occupied());
    }
}

#[test]
fn a_lease_parked_during_settling_is_collected_once() {
    loom::model(|| {
        let connection = Connection::new(1);
        let driver = thread::spawn({
            let connection = connection.clone();
            move || {
                connection.turn();
                connection.settle();
            }
        });
        connection.park(1);
        driver.join().expect("no panic");
        connection.all_collected();
    });
}

#[test]
fn two_successive_leases_are_each_collected_once() {
    loom::model(|| {
        let connection = Connection::new(2);
        let driver = thread::spawn({
            let connection = connection.clone();
            move || {
                connection.settle();
                connection.settle();
            }
        });
        connection.park(1);
        driver.join().expect("no panic");
        connection.all_collected();
    });
}

#[test]
fn a_driver_that_looks_twice_takes_nothing_twice() {
    loom::model(|| {
        let connection = Connection::new(1);
        let driver = thread::spawn({
            let connection = connection.clone();
            move || {
                connection.settle();
                connection.turn();
            }
        });
        // Someone else looks too, as maintenance does.
        let looking = thread::spawn({
            let connection = connection.clone();
            move || connection.slot.is_occupied()
        });
        connection.park(1);
        driver.join().expect("no panic");
        looking.join().expect("no panic");
        connection.all_collected();
    });
}
