use super::*;

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], n))
}

fn lost(addr: SocketAddr) -> Attempt {
    Attempt::started(addr, Duration::ZERO).ended(AttemptOutcome::Abandoned)
}

fn won(addr: SocketAddr) -> Attempt {
    Attempt::started(addr, Duration::ZERO).ended(AttemptOutcome::Connected)
}

#[test]
fn remembered_hosts_are_bounded_and_expire() {
    let (memory, now) = (Memory::default(), Instant::now());
    let dial = [lost(addr(1)), won(addr(2))];
    for n in 0..2 * MAX_HOSTS {
        memory.won(&format!("host{n}"), &dial, now);
    }
    assert_eq!(memory.locked().hosts.len(), MAX_HOSTS);
    memory.won("later", &dial, now + LATE_FOR);
    assert_eq!(memory.locked().hosts.len(), 1);
}

#[test]
fn remembered_losing_addresses_are_bounded() {
    let (memory, now) = (Memory::default(), Instant::now());
    for n in 1..=500 {
        memory.won("host", &[lost(addr(n)), won(addr(1000))], now);
    }
    assert_eq!(memory.locked().hosts["host"].len(), MAX_LATE);
    memory.order("host", vec![addr(1000), addr(1001)], 1, now + LATE_FOR);
    assert!(memory.locked().hosts["host"].is_empty());
}

#[test]
fn losing_addresses_are_retried_one_at_a_time() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.won("host", &[lost(addr(1)), lost(addr(2)), won(addr(3))], now);
    let answer = || vec![addr(1), addr(2), addr(3)];
    assert_eq!(
        memory.order("host", answer(), 1, now),
        [addr(3), addr(1), addr(2)]
    );
    let later = now + LATE_FOR;
    assert_eq!(
        memory.order("host", answer(), 1, later),
        [addr(1), addr(3), addr(2)]
    );
    assert_eq!(
        memory.order("host", answer(), 1, later),
        [addr(2), addr(3), addr(1)]
    );
    assert_eq!(
        memory.order("host", answer(), 1, later),
        [addr(3), addr(1), addr(2)]
    );
}

#[test]
fn exhausted_ports_are_not_held_against_addresses() {
    let (memory, now) = (Memory::default(), Instant::now());
    let exhausted = AttemptOutcome::Failed(ConnectErrorKind::PortsExhausted);
    let attempt = Attempt::started(addr(1), Duration::ZERO).ended(exhausted);
    memory.won("host", &[attempt, won(addr(2))], now);
    assert!(memory.locked().hosts.is_empty());
}
