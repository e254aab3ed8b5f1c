//! A table as a backend.

use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::addresses::answer::Answer;
use crate::addresses::hosts::StaticHosts;
use crate::values::error::{LookupError, LookupErrorKind};

impl Service<Name> for StaticHosts {
    type Response = Answer;
    type Error = LookupError;
    type Future = Ready<Result<Answer, LookupError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.get(name.as_str()).filter(|addrs| !addrs.is_empty());
        ready(match found {
            Some(addrs) => Ok(Answer::new(addrs.iter().copied()).ttl(Duration::MAX)),
            None => Err(LookupError::new(LookupErrorKind::NotFound { ttl: None })),
        })
    }
}
