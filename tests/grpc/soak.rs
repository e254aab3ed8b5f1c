//! A steady load while the server restarts twice and its name moves once: `tollgate::Client` beside
//! tonic's `Channel` over the same connector.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream;
use http::Uri;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tollgate::cached_dns::{CachedDnsLayer, Hickory};
use tollgate::connect_timeout::ConnectTimeoutLayer;
use tollgate::dial::Dial;
use tollgate::{Client, Http2Options, Protocol};
use tollgate_core::BoxError;
use tollgate_testing::dns::{Answer, DnsServer};
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Endpoint;
use tower::Layer;

use crate::greeter::{GreeterClient, Hello};
use crate::site::Site;

const NAME: &str = "greeter.test";
const TTL: u32 = 1;
const CALLERS: usize = 32;
const CHATTERS: usize = 16;
/// What one chat says.
const WORDS: usize = 20;
/// Calls that there must have been.
const CALLS: usize = 10_000;
const CHATS: usize = 100;
/// Longest that an answer may take; nothing here takes a tenth of that.
pub(crate) const STUCK: Duration = Duration::from_secs(10);

/// What became of the calls of one kind.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    /// How many failed with which status; the first of each in full.
    failed: BTreeMap<i32, (usize, String)>,
}

impl Tally {
    fn add(&mut self, result: Result<(), Status>) {
        match result {
            Ok(()) => self.done += 1,
            Err(status) => {
                let told = || format!("{status:?}");
                let code = status.code() as i32;
                let failed = self.failed.entry(code).or_insert_with(|| (0, told()));
                failed.0 += 1;
            }
        }
    }

    fn merged(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for tally in all {
            sum.done += tally.done;
            for (code, (count, first)) in tally.failed {
                sum.failed.entry(code).or_insert((0, first)).0 += count;
            }
        }
        sum
    }

    fn failures(&self) -> usize {
        self.failed.values().map(|(count, _)| count).sum()
    }
}

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    calls: Tally,
    chats: Tally,
    /// From the change of the name until the old server had no more calls.
    moved_after: Option<Duration>,
    took: Duration,
}

/// The world of one client: two sites, a name, and who moves it.
struct World {
    dns: DnsServer,
    blue: Site,
    green: Site,
    uri: Uri,
}

impl World {
    /// Blue is 127.0.0.2 and green 127.0.0.3, at a port of this world's own.
    async fn new() -> Self {
        let blue = Site::start(SocketAddr::from(([127, 0, 0, 2], 0)));
        let port = blue.addr().port();
        let green = Site::start(SocketAddr::from(([127, 0, 0, 3], port)));
        let dns = DnsServer::start().await;
        dns.set(NAME, answer(&blue));
        let uri = format!("http://{NAME}:{port}").parse().unwrap();
        Self {
            dns,
            blue,
            green,
            uri,
        }
    }

    fn resolver(&self) -> Hickory {
        Hickory::with_nameservers([self.dns.addr()]).unwrap()
    }

    /// Two restarts, a move between them, and the old site's end.
    async fn turn(self) -> Option<Duration> {
        let Self {
            dns,
            mut blue,
            mut green,
            ..
        } = self;
        sleep(Duration::from_millis(1_500)).await;
        blue.restart().await;
        sleep(Duration::from_millis(1_500)).await;
        dns.set(NAME, answer(&green));
        let moved = Instant::now();
        let until = moved + Duration::from_secs(TTL.into()) + Duration::from_secs(2);
        let mut last = (blue.greeter.calls(), moved);
        while Instant::now() < until {
            sleep(Duration::from_millis(10)).await;
            let calls = blue.greeter.calls();
            if calls != last.0 || blue.greeter.live() > 0 {
                last = (calls, Instant::now());
            }
        }
        let still_in_use = last.1 + Duration::from_millis(100) >= until;
        blue.stop().await;
        sleep(Duration::from_millis(500)).await;
        green.restart().await;
        sleep(Duration::from_millis(1_500)).await;
        // Both are to be there until the last call is over.
        tokio::spawn(async move {
            sleep(STUCK * 10).await;
            drop((dns, green));
        });
        (!still_in_use).then(|| last.1 - moved)
    }
}

fn answer(site: &Site) -> Answer {
    let ip: IpAddr = site.addr().ip();
    Answer::addrs([ip]).ttl(TTL)
}

/// Loads until `stop`, and until each has made its part of the calls.
async fn load<T>(transport: T, world: World) -> Outcome
where
    T: GrpcService<Body> + Clone + Send + 'static,
    T::Future: Send,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let greeter = GreeterClient::with_origin(transport, world.uri.clone());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(caller(greeter.clone(), stop.clone())))
        .collect();
    let chatters: Vec<_> = (0..CHATTERS)
        .map(|_| tokio::spawn(chatter(greeter.clone(), stop.clone())))
        .collect();
    let moved_after = world.turn().await;
    stop.store(true, SeqCst);
    let all = |tallies: Vec<Result<Tally, _>>| {
        Tally::merged(tallies.into_iter().map(Result::unwrap).collect())
    };
    Outcome {
        calls: all(join_all(callers).await),
        chats: all(join_all(chatters).await),
        moved_after,
        took: started.elapsed(),
    }
}

async fn caller<T>(mut greeter: GreeterClient<T>, stop: Arc<AtomicBool>) -> Tally
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let mut tally = Tally::default();
    while !stop.load(SeqCst) || tally.done <= CALLS / CALLERS {
        let text = format!("slow {}", tally.done);
        let call = timeout(STUCK, greeter.say_hello(Hello::new(&text))).await;
        let call = call.unwrap_or_else(|_| Err(Status::unknown("stuck")));
        tally.add(call.map(|answer| assert_eq!(answer.into_inner().text, text)));
        if tally.failures() > CALLS {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    tally
}

async fn chatter<T>(mut greeter: GreeterClient<T>, stop: Arc<AtomicBool>) -> Tally
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let mut tally = Tally::default();
    while !stop.load(SeqCst) || tally.done <= CHATS / CHATTERS {
        let chat = timeout(STUCK, chat(&mut greeter)).await;
        tally.add(chat.unwrap_or_else(|_| Err(Status::unknown("stuck"))));
        if tally.failures() > CALLS {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    tally
}

/// Says a word, waits until it is said back, and so on.
async fn chat<T>(greeter: &mut GreeterClient<T>) -> Result<(), Status>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async {
        said.recv().await.map(|text| (text, said))
    });
    let mut heard = greeter.chat(said).await?.into_inner();
    for n in 0..WORDS {
        let word = Hello::new(n);
        let gone = |_| Status::unknown("nobody listens");
        say.send(word.clone()).await.map_err(gone)?;
        let back = heard.message().await?;
        assert_eq!(back, Some(word));
        sleep(Duration::from_millis(10)).await;
    }
    drop(say);
    assert_eq!(heard.message().await?, None);
    Ok(())
}

async fn ours() -> Outcome {
    let world = World::new().await;
    let client = Client::builder()
        .protocol(Protocol::Http2)
        // As a channel has one.
        .http2(Http2Options::new().max_http2_connections(NonZeroUsize::MIN))
        .resolver(world.resolver())
        .build()
        .unwrap();
    load(client, world).await
}

async fn theirs() -> Outcome {
    let world = World::new().await;
    let dial = Dial::new(CachedDnsLayer::new().layer(world.resolver()));
    let connector = ConnectTimeoutLayer::new(Duration::from_secs(5)).layer(dial);
    let endpoint = Endpoint::from(world.uri.clone());
    let channel = endpoint.connect_with_connector_lazy(connector);
    load(channel, world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the other's numbers stand beside ours")]
async fn no_call_fails_across_restarts_and_dns_change() {
    let (ours, theirs) = join(ours(), theirs()).await;
    eprintln!("tollgate {ours:#?}\nchannel {theirs:#?}");
    assert!(ours.calls.done >= CALLS, "{}", ours.calls.done);
    assert!(ours.chats.done >= CHATS, "{}", ours.chats.done);
    assert_eq!((ours.calls.failures(), ours.chats.failures()), (0, 0));
    let moved = ours
        .moved_after
        .expect("the old server was in use to its end");
    assert!(
        moved <= Duration::from_secs(u64::from(TTL) + 2),
        "{moved:?}"
    );
    assert!(ours.took < Duration::from_secs(60));
}
