//! Resolvers and attempts to script.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test support, of which each file uses a part"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tollgate_dial::{DialError, DialLayer, DialStream, TcpAttempt};
use tollgate_testing::{DEADLINE, within};
use tower::{Layer, Service, ServiceExt};

pub(crate) const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// The name that everything here resolves and dials.
pub(crate) fn name() -> Uri {
    Uri::from_static("http://billing.test")
}

/// Dials what the name is said to resolve to with scripted attempts, under a paused clock.
pub(crate) async fn dial(
    layer: &DialLayer<Mock>,
    addrs: &[SocketAddr],
) -> Result<DialStream<MockIo>, DialError> {
    layer.layer(Answers(addrs.to_vec())).oneshot(name()).await
}

/// A dial with scripted attempts and the default options.
pub(crate) fn layer(mock: &Mock) -> DialLayer<Mock> {
    DialLayer::with_attempt(mock.clone())
}

/// As [`dial`], with sockets and in real time.
pub(crate) async fn connect(
    layer: &DialLayer<TcpAttempt>,
    addrs: &[SocketAddr],
) -> Result<DialStream, DialError> {
    let dial = layer.layer(Answers(addrs.to_vec()));
    within(DEADLINE, dial.oneshot(name())).await
}

/// Listens on loopback.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Answers every name with these addresses.
#[derive(Clone, Debug)]
pub(crate) struct Answers(pub(crate) Vec<SocketAddr>);

impl Service<Name> for Answers {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        std::future::ready(Ok(self.0.clone().into_iter()))
    }
}

/// The behaviour of a scripted address.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Connects { after: Duration },
    Fails { after: Duration, os_error: i32 },
    Nothing,
}

impl Does {
    pub(crate) const CONNECTS: Self = Self::Connects {
        after: Duration::ZERO,
    };
    pub(crate) const REFUSES: Self = Self::fails(111);

    pub(crate) const fn fails(os_error: i32) -> Self {
        Self::Fails {
            after: Duration::ZERO,
            os_error,
        }
    }
}

/// Attempts that do what the script says, and are counted. Addresses without a script do nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    script: HashMap<SocketAddr, Does>,
    starts: Vec<(SocketAddr, Instant)>,
    open: usize,
    peak: usize,
}

impl Mock {
    pub(crate) fn new(script: impl IntoIterator<Item = (SocketAddr, Does)>) -> Self {
        let mock = Self::default();
        mock.0.lock().unwrap().script = script.into_iter().collect();
        mock
    }

    pub(crate) fn set(&self, addr: SocketAddr, does: Does) {
        self.0.lock().unwrap().script.insert(addr, does);
    }

    /// The addresses that were started, with the milliseconds after `from`.
    pub(crate) fn starts(&self, from: Instant) -> Vec<(SocketAddr, u128)> {
        let state = self.0.lock().unwrap();
        let since = |at: &Instant| (*at - from).as_millis();
        state.starts.iter().map(|(a, at)| (*a, since(at))).collect()
    }

    /// The addresses that were started since the last call, in order.
    pub(crate) fn take_started(&self) -> Vec<SocketAddr> {
        let starts = std::mem::take(&mut self.0.lock().unwrap().starts);
        starts.into_iter().map(|(addr, _)| addr).collect()
    }

    pub(crate) fn open(&self) -> usize {
        self.0.lock().unwrap().open
    }

    pub(crate) fn peak(&self) -> usize {
        self.0.lock().unwrap().peak
    }
}

struct Counted(Mock);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().open -= 1;
    }
}

impl Service<SocketAddr> for Mock {
    type Response = MockIo;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<MockIo>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, addr: SocketAddr) -> Self::Future {
        let does = {
            let mut state = self.0.lock().unwrap();
            state.starts.push((addr, Instant::now()));
            state.open += 1;
            state.peak = state.peak.max(state.open);
            state.script.get(&addr).cloned().unwrap_or(Does::Nothing)
        };
        let counted = Counted(self.clone());
        Box::pin(async move {
            let _counted = counted;
            match does {
                Does::Connects { after } => {
                    nap(after).await;
                    Ok(MockIo(addr))
                }
                Does::Fails { after, os_error } => {
                    nap(after).await;
                    Err(io::Error::from_raw_os_error(os_error))
                }
                Does::Nothing => pending().await,
            }
        })
    }
}

/// A nap of no length does not go through the timer, which only knows whole milliseconds.
async fn nap(length: Duration) {
    if !length.is_zero() {
        sleep(length).await;
    }
}

/// The connection of a scripted attempt: just the address it was for.
#[derive(Debug)]
pub(crate) struct MockIo(pub(crate) SocketAddr);

impl Connection for MockIo {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `192.0.2.n`, port 80.
pub(crate) fn v4(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 80))
}

/// `2001:db8::n`, port 80.
pub(crate) fn v6(n: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80))
}
