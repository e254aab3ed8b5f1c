//! Exchanges that end HTTP on their connection: upgrades and CONNECT.

use http::{Method, Request, StatusCode};

use crate::connection::erased::ErasedBody;

/// The way in which a request asks to leave HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tunnel {
    No,
    Upgrade,
    Connect,
}

impl Tunnel {
    #[inline]
    pub(crate) fn asked_by(request: &Request<ErasedBody>) -> Self {
        if request.method() == Method::CONNECT {
            Self::Connect
        } else if !request.headers().is_empty()
            && request.headers().contains_key(http::header::UPGRADE)
        {
            Self::Upgrade
        } else {
            Self::No
        }
    }

    pub(crate) fn opened_by(self, status: StatusCode) -> bool {
        match self {
            Self::No => false,
            Self::Upgrade => status == StatusCode::SWITCHING_PROTOCOLS,
            Self::Connect => status.is_success(),
        }
    }
}
