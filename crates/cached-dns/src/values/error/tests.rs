use super::*;

#[test]
fn a_lookup_timeout_ends_in_an_io_timeout() {
    let error = LookupError::new(LookupErrorKind::Timeout);
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_backend_error_keeps_or_gets_its_kind() {
    let own = LookupError::new(LookupErrorKind::Blocked);
    assert_eq!(
        LookupError::from_backend(own).kind(),
        LookupErrorKind::Blocked
    );
    let late = io::Error::from(io::ErrorKind::TimedOut);
    assert_eq!(
        LookupError::from_backend(late).kind(),
        LookupErrorKind::Timeout
    );
    assert_eq!(
        LookupError::from_backend("no").kind(),
        LookupErrorKind::Transient
    );
}

#[test]
fn messages_name_the_host() {
    let of = |kind| LookupError::new(kind).of("a.test".into(), Duration::from_secs(5));
    let odd = LookupError::new(LookupErrorKind::Timeout);
    let odd = odd.of("a.test".into(), Duration::from_nanos(5_001_400_123));
    assert_eq!(odd.to_string(), "looking up a.test timed out after 5.001s");
    assert_eq!(
        of(LookupErrorKind::Timeout).to_string(),
        "looking up a.test timed out after 5s"
    );
    assert_eq!(
        of(LookupErrorKind::NotFound { ttl: None }).to_string(),
        "a.test was not found"
    );
}
