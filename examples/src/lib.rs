//! Runnable examples of Tollgate; each is a file beside this package's manifest.
