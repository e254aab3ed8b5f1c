//! The contract that every layer keeps.

use std::time::Duration;

use http::Uri;
use tollgate_connect_timeout::{ConnectTimeout, ConnectTimeoutLayer};
use tollgate_testing::contract::{Contract, Probe};
use tower::Layer;

type Connector = Probe<Uri, &'static str>;

fn contract() -> Contract<Uri, Uri, &'static str, ConnectTimeout<Connector>> {
    Contract::new(
        |probe| ConnectTimeoutLayer::new(Duration::from_secs(60)).layer(probe),
        || Uri::from_static("http://billing.test"),
        |_| "connected",
    )
}

mod keeps_the_contract {
    tollgate_testing::contract_tests!(super::contract());
}
