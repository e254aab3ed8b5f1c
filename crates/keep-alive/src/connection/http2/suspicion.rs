//! Whether the path to the peer is in doubt, by calls that are given up.

use std::time::Duration;

use tokio::time::Instant;

/// Silence after which a call that is given up makes the path suspect: longer than nearly every
/// round trip.
const SILENT_FOR: Duration = Duration::from_millis(250);
/// The same where no ping is allowed: a peer that answered the last ones is most likely only slow.
const MUTE_FOR: Duration = Duration::from_secs(30);

/// True if the path to the peer is in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Suspect {
    #[default]
    No,
    /// A ping is on its way.
    Asked,
    /// No ping is allowed now, so the doubt stays until a frame comes.
    Mute,
}

/// No → Asked | Mute, when a call is given up in silence; both → No, when a frame comes.
#[derive(Debug)]
pub(super) struct Suspicion {
    suspect: Suspect,
    /// The time since which a request has been on its way and no frame has come.
    unheard_since: Option<Instant>,
    heard: Instant,
}

impl Suspicion {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            suspect: Suspect::No,
            unheard_since: None,
            heard: now,
        }
    }

    pub(super) fn request_sent(&mut self, now: Instant) {
        self.unheard_since.get_or_insert(now);
    }

    pub(super) const fn heard(&mut self, now: Instant) {
        // By any frame: the path is in doubt, and not the answer.
        self.suspect = Suspect::No;
        self.unheard_since = None;
        self.heard = now;
    }

    /// Returns true if a call that is given up now makes the path suspect.
    pub(super) fn arises(&self, now: Instant) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since) >= SILENT_FOR;
        self.suspect == Suspect::No && self.unheard_since.is_some_and(silent)
    }

    /// It is suspect; `asked` says that a ping is on its way.
    pub(super) fn suspect(&mut self, asked: bool, now: Instant) {
        if asked {
            self.suspect = Suspect::Asked;
        } else if now.saturating_duration_since(self.heard) >= MUTE_FOR {
            self.suspect = Suspect::Mute;
        }
    }

    pub(super) const fn is(&self) -> Suspect {
        self.suspect
    }
}
