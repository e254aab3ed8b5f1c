//! The lease that waits in its connection, as the connection sees it.

use std::fmt;
use std::task::{Context, Poll};

/// A lease that waits for hyper to finish with its exchange.
pub(crate) trait Parked: fmt::Debug + Send {
    /// Returns true if hyper has finished with the exchange, one way or the other.
    fn is_settled(&self) -> bool;

    /// Returns true if the connection is of no use any more.
    fn is_dead(&self) -> bool;

    /// Returns true if the driver is to take it: hyper has finished, or its caller has gone.
    fn is_of_driver(&self) -> bool;

    /// Ends it, in whatever state the connection is.
    fn give_back(self: Box<Self>);

    /// Goes on with an exchange whose caller has gone; `None` for one that only waited for hyper, which
    /// ends.
    fn take_answer_in(self: Box<Self>) -> Option<Box<dyn Unread>>;
}

/// An answer that is taken in for no caller.
pub(crate) trait Unread: Send {
    /// Takes in what has come of it; ready once the lease has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
