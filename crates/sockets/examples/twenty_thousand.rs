//! Readings of 20,000 sockets in a network namespace of its own: fails if one costs 20 ms.
//!
//! ```text
//! cargo run --release -p tollgate-sockets --example twenty_thousand
//! ```

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::time::ClockId;
use tokio::time::Instant;
use tollgate_sockets::{Ports, Sockets, Source, TcpState};

/// The program's second run, inside the namespace.
const INSIDE: &str = "--inside";

const ENTER: &str = "ip link set lo up && echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" --inside";

/// Connections that stay: two sockets each.
const OPEN: usize = 5_000;
/// Connections that were closed: one socket in `TIME_WAIT` each.
const CLOSED: usize = 10_000;

const READINGS: usize = 21;
const LIMIT: Duration = Duration::from_millis(20);

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some(INSIDE) {
        return measure();
    }
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", ENTER])
        .arg(std::env::current_exe()?)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("a reading took too long, or there are no namespaces here".into())
    }
}

#[expect(clippy::print_stdout, reason = "its purpose")]
fn measure() -> Result<(), Box<dyn Error>> {
    let held = fill()?;
    let cost = time(Source::SockDiag)?;
    println!("sock_diag  {cost}");
    println!("/proc      {}", time(Source::Proc)?);
    drop(held);
    if cost.processor < LIMIT && cost.fastest < LIMIT {
        Ok(())
    } else {
        Err(format!("a reading takes more than {LIMIT:?}").into())
    }
}

/// The medians of some readings.
struct Cost {
    /// The thread's own time: what a reading costs on a machine that does something else too.
    processor: Duration,
    wall: Duration,
    /// By the clock, when nothing came between.
    fastest: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1?} of the processor's time, {:.1?} by the clock, {:.1?} at best",
            self.processor, self.wall, self.fastest
        )
    }
}

/// Connections to a few addresses, so that no destination's ports get scarce.
fn fill() -> Result<(Vec<TcpListener>, Vec<TcpStream>), Box<dyn Error>> {
    let listeners: Vec<_> = (1..=4)
        .map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 80)))
        .collect::<Result<_, _>>()?;
    let mut open = Vec::new();
    for n in 0..OPEN + CLOSED {
        let listener = &listeners[n % listeners.len()];
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        if n < OPEN {
            open.extend([near, far]);
        } else {
            // This side first, so that it is the one to wait.
            drop(near);
            drop(far);
        }
    }
    Ok((listeners, open))
}

#[expect(clippy::print_stdout, reason = "its purpose")]
fn time(source: Source) -> Result<Cost, Box<dyn Error>> {
    let ports = Ports::read()?;
    let (mut processor, mut wall) = (Vec::new(), Vec::new());
    for nth in 0..READINGS {
        let (start, start_processor) = (Instant::now(), processor_time()?);
        let sockets = Sockets::read_by(source)?;
        let destinations = sockets.destinations(&ports).len();
        processor.push(processor_time()?.saturating_sub(start_processor));
        wall.push(start.elapsed());
        if nth == 0 {
            let (all, waiting) = (sockets.all.len(), sockets.counts().of(TcpState::TimeWait));
            assert!(all >= 20_000 && destinations == 4, "{all}, {destinations}");
            println!("{all} sockets, {waiting} of them in TIME_WAIT, {destinations} destinations");
        }
    }
    Ok(Cost {
        processor: median(processor),
        fastest: wall.iter().copied().min().unwrap_or_default(),
        wall: median(wall),
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn processor_time() -> nix::Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}
