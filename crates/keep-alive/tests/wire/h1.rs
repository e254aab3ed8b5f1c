//! HTTP/1 (RFC 9112).

mod heads;
mod lengths;
mod losses;
mod mistakes;
mod old;
mod reuse;
mod timed_out;
mod uploads;

use crate::table::check;
use crate::tls::below;

/// An answer that leaves the connection open.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn reused_connections_are_alive_and_in_step() {
    check("HTTP/1: reuse", &reuse::cases());
}

#[test]
fn a_408_in_two_pieces_is_a_goodbye() {
    check("HTTP/1: a 408 in pieces", &timed_out::cases());
    check("HTTP/1: unused", &timed_out::unused());
}

#[test]
fn lost_requests_are_retried_only_where_safe() {
    check("HTTP/1: losses", &losses::cases());
}

#[test]
fn a_request_body_has_its_announced_length() {
    check("HTTP/1: lengths", &lengths::cases());
}

#[test]
fn http10_keep_alive_needs_the_peers_offer() {
    check("HTTP/1.0", &old::cases());
}

#[test]
fn early_answers_to_uploads_are_read() {
    check("HTTP/1: early answers", &uploads::cases());
}

#[test]
fn heads_are_parsed_as_leniently_as_configured() {
    check("HTTP/1: heads", &heads::cases());
}

#[test]
fn http1_is_the_same_below_tls() {
    check("TLS: reuse", &below(reuse::cases()));
    check("TLS: a 408 in pieces", &below(timed_out::cases()));
    check("TLS: losses", &below(losses::cases()));
    check("TLS: lengths", &below(lengths::cases()));
    check("TLS: HTTP/1.0", &below(old::cases()));
    check("TLS: early answers", &below(uploads::cases()));
    check("TLS: heads", &below(heads::cases()));
}

#[test]
fn a_peer_of_another_protocol_is_named() {
    check("HTTP/1: mistakes", &mistakes::cases());
}
