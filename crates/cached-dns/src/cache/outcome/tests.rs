use super::*;
use crate::cache::config::Config;

#[test]
fn the_first_answer_is_no_change() {
    let now = Instant::now();
    let cache = Cache::new(Config::DEFAULT, now);
    let answer = Answer::new([([10, 0, 0, 1], 0).into()]);
    let (.., delta) = cache.outcome(&Entry::empty(now), Ok(answer), now);
    assert_eq!(delta, Delta::default());
}

// getaddrinfo says EAI_NONAME also without descriptors, modules or networks.
#[test]
fn only_repeated_unconfirmed_not_found_replaces_an_answer() {
    let now = Instant::now();
    let cache = Cache::new(Config::DEFAULT, now);
    let no_name = || LookupError::new(LookupErrorKind::NotFound { ttl: None });
    let good = Answer::new([([10, 0, 0, 1], 0).into()]);
    let (mut entry, ..) = cache.outcome(&Entry::empty(now), Ok(good), now);
    let mut believed_after = 0;
    for n in 1..10 {
        let old = entry.unwrap();
        let (next, outcome, _) = cache.outcome(&old, Err(no_name().unconfirmed()), now);
        if outcome.unwrap_err().is_not_found() {
            believed_after = n;
            entry = next;
            break;
        }
        assert!(!next.as_ref().unwrap().addrs.is_empty());
        entry = next;
    }
    assert_eq!(believed_after, CONFIRMED + 1);
    assert!(entry.unwrap().negative.is_some());
    // One from a name server is believed at once.
    let good = Answer::new([([10, 0, 0, 1], 0).into()]);
    let (entry, ..) = cache.outcome(&Entry::empty(now), Ok(good), now);
    let (_, outcome, _) = cache.outcome(&entry.unwrap(), Err(no_name()), now);
    assert!(outcome.unwrap_err().is_not_found());
}
