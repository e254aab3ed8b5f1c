//! How a script is played, and what has to hold in every play.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tollgate_testing::{Gate, Reply, Upstream};

use crate::call::{Outcome, call, call_until};
use crate::script::{Expect, Next, Script};
use crate::support::{Stack, assert_at_rest, cap};

/// When a call has to have ended by itself; an exchange here takes a few milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// A caller's own deadline, where nothing else ends the call.
const PATIENCE: Duration = Duration::from_millis(100);

const FOLLOWERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Fresh,
    Reused,
    Queued,
}

/// Plays every script in every setting, all at once.
pub(crate) async fn play_all(scripts: Vec<Script>) {
    play_in(&[Setting::Fresh, Setting::Reused, Setting::Queued], scripts).await;
}

/// Plays every script on a fresh connection, all at once.
pub(crate) async fn play_each(scripts: Vec<Script>) {
    play_in(&[Setting::Fresh], scripts).await;
}

async fn play_in(settings: &[Setting], scripts: Vec<Script>) {
    let mut plays = JoinSet::new();
    for script in scripts {
        for &setting in settings {
            plays.spawn(play(script.clone(), setting));
        }
    }
    let mut failed = 0;
    while let Some(played) = plays.join_next().await {
        // What went wrong is on stderr already, script by script.
        failed += usize::from(played.is_err());
    }
    assert_eq!(failed, 0, "plays that went wrong");
}

/// A script, its server and the pool that suffers it.
struct Play {
    script: Script,
    setting: Setting,
    upstream: Upstream,
    stack: Stack,
    /// Where the server waits, if it is to.
    gate: Gate,
    /// Open once the server has the broken request.
    seen: Gate,
}

async fn play(script: Script, setting: Setting) {
    let play = Play::prepare(script, setting).await;
    let outcome = play.run().await;
    play.check(&outcome);
    play.follow("after").await;
    play.rest().await;
}

impl Play {
    async fn prepare(script: Script, setting: Setting) -> Self {
        let (gate, seen) = (Gate::new(), Gate::new());
        let arrived = seen.clone();
        let broken = match setting {
            Setting::Queued => script.reply.clone().when(&gate),
            _ => script.reply.clone(),
        };
        let upstream = Upstream::start(move |request| match &*request.target {
            "/broken" => {
                arrived.open();
                broken.clone()
            }
            _ if request.method == "POST" => Reply::echo(),
            path => Reply::ok(path[1..].to_owned()),
        })
        .await;
        let stack = Stack::new(&upstream, &cap(1));
        let play = Self {
            script,
            setting,
            upstream,
            stack,
            gate,
            seen,
        };
        if setting == Setting::Reused {
            play.follow("before").await;
        }
        play
    }

    /// The broken exchange, with others queued behind it if the setting says so.
    async fn run(&self) -> Outcome {
        let pool = self.stack.pool.clone();
        let (seen, limit) = (self.seen.clone(), self.limit());
        let deadline = async move {
            let _seen_or_not = timeout(DEADLINE, seen.wait()).await;
            tokio::time::sleep(limit).await;
        };
        let broken = tokio::spawn(call_until(pool, self.request(), deadline));
        if self.setting == Setting::Queued {
            self.gate.reached(1).await;
            let ahead = self.stack.settled(|stats| stats.active <= 1);
            let followers = (0..FOLLOWERS).map(|n| async move {
                self.follow(&format!("queued-{n}")).await;
            });
            let queued = async {
                ahead.await;
                // Those whose turn comes early, since the broken one was cut off, are as good.
                self.stack
                    .settled(|stats| stats.queued == FOLLOWERS || stats.cancelled > 0)
                    .await;
                self.gate.open();
            };
            let followers = futures_util::future::join_all(followers);
            let (outcome, _, ()) = tokio::join!(broken, followers, queued);
            return outcome.unwrap();
        }
        broken.await.unwrap()
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::builder()
            .method(self.script.method)
            .uri(self.upstream.uri("/broken"))
            .body(Full::new(vec![b'x'; self.script.upload].into()))
            .unwrap()
    }

    fn limit(&self) -> Duration {
        match self.script.expect {
            Expect::CutOff => PATIENCE,
            _ => DEADLINE,
        }
    }

    #[track_caller]
    fn check(&self, outcome: &Outcome) {
        let matches = match (self.script.expect, outcome) {
            (Expect::Answer(status, body), Outcome::Answer(got, bytes)) => {
                status == *got && body == bytes
            }
            (Expect::Fails(kind), Outcome::Failed(error)) => {
                kind == error.kind() && !error.nothing_sent()
            }
            (Expect::Breaks, Outcome::Broke) | (Expect::CutOff, Outcome::CutOff) => true,
            _ => false,
        };
        assert!(matches, "{self}: {outcome:?}");
    }

    /// A request like any other, told from the others by its tag: it gets its own answer.
    async fn follow(&self, tag: &str) {
        let request = if self.script.next == Next::Race {
            // A POST that meets the server's close fails, as it must; a GET is sent once more.
            Request::get(self.upstream.uri(&format!("/{tag}")))
                .body(Full::default())
                .unwrap()
        } else {
            Request::post(self.upstream.uri(&format!("/{tag}")))
                .body(Full::new(Bytes::from(tag.to_owned())))
                .unwrap()
        };
        match call(self.stack.pool.clone(), request, DEADLINE).await {
            Outcome::Answer(200, body) => assert_eq!(body, tag, "{self}"),
            other => panic!("{self}: the request {tag} got {other:?}"),
        }
    }

    /// What holds when everybody is served.
    async fn rest(&self) {
        let stats = self
            .stack
            .settled(|stats| stats.in_flight + stats.queued + stats.connecting == 0)
            .await;
        assert_at_rest(&stats);
        assert!(self.stack.connector.stats().peak_live <= 1, "{self}");
        assert_eq!(self.upstream.stats().malformed, 0, "{self}");
        let log = self.upstream.requests();
        let of = |path: &str| log.iter().filter(|r| r.target == path).collect::<Vec<_>>();
        let (broken, after) = (of("/broken"), of("/after"));
        let (broken, after) = (broken.last().unwrap(), after.last().unwrap());
        match self.script.next {
            Next::Kept => assert_eq!(broken.connection, after.connection, "{self}"),
            Next::Fresh => {
                let later = log
                    .iter()
                    .filter(|request| request.arrival > broken.arrival);
                for request in later {
                    assert_ne!(broken.connection, request.connection, "{self}");
                }
                let posts = log.iter().filter(|r| r.target != "/broken").count();
                let sent = match self.setting {
                    Setting::Fresh => 1,
                    Setting::Reused => 2,
                    Setting::Queued => 1 + FOLLOWERS,
                };
                assert_eq!(posts, sent, "{self}: each follower is sent once");
            }
            Next::Race => {}
        }
    }
}

impl std::fmt::Display for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.script.name, self.setting)
    }
}
