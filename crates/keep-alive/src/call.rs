//! One call, through all its attempts: what each does, what follows from it, the response body.

pub(crate) mod attempt;
pub(crate) mod body;
pub(crate) mod body_error;
pub(crate) mod limits;
pub(crate) mod progress;
pub(crate) mod reread;
pub(crate) mod retry;
pub(crate) mod span;
pub(crate) mod stale;
pub(crate) mod too_large;
pub(crate) mod tunnel;
