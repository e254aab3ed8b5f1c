//! TLS through the facade.
