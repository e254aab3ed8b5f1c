//! The vocabulary that Tollgate's layers share.
//!
//! No layer of Tollgate depends on another. What they have to say to each other goes through the
//! types of this crate:
//!
//! * [`Origin`], the canonical name of a peer, and [`HasOrigin`], how a request tells its own;
//! * [`Event`] and [`Observer`]: what happens in a pool, a resolver or a dial, as it happens;
//! * [`Timings`] and [`DialInfo`]: where the time of one exchange and of one dial went;
//! * [`CloseReason`], [`RefuseReason`] and [`ConnectErrorKind`]: closed lists that metrics,
//!   snapshots and errors agree on;
//! * [`phase`]: how a connector that is still pending tells the layer above which phase it is in;
//! * [`wait`]: how a layer that queues inside its call tells how long a request waited;
//! * [`late`]: how a resolver tells the dial that asked it of addresses that are still to come;
//! * [`error`]: the search through an error's chain of sources.
//!
//! An application needs this crate only to write an [`Observer`] or a layer of its own; the
//! `tollgate` facade re-exports it.

mod dial_info;
pub mod error;
mod event;
pub mod late;
mod origin;
pub mod phase;
mod reason;
mod timings;
pub mod wait;

pub use dial_info::{Attempt, AttemptOutcome, DialInfo};
pub use error::BoxError;
pub use event::{Event, NoObserver, Observer};
pub use origin::{HasOrigin, Origin, OriginRef, ParseOriginError};
pub use phase::{Phase, PhaseSlot};
pub use reason::{Classified, CloseReason, ConnectErrorKind, RefuseReason};
pub use timings::Timings;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
