//! Outbound HTTP for Rust services: bounded, kept alive, DNS-cached, timed out and visible.
