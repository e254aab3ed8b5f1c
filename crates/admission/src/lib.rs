//! Tollgate's sans-IO admission engine: a fair, bounded, timed queue, a request gate and a connection pool's state machine.
