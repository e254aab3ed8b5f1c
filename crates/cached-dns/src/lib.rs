//! A Tower layer that caches DNS answers: TTL, single flight, refresh-ahead, stale on error, negative caching and rotation.
