//! A Tower layer that limits requests in flight per origin, with a fair, bounded, timed queue and permits that live to the end of the body.
