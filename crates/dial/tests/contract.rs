//! The contract suite of all layers, with a probe in the place of the resolver.

mod common;

use std::net::SocketAddr;

use common::{Does, Mock, v4};
use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tollgate_dial::{Dial, DialLayer};
use tollgate_testing::contract::{Contract, Probe};
use tower::Layer;

type Resolver = Probe<Name, Vec<SocketAddr>>;

fn contract() -> Contract<Uri, Name, Vec<SocketAddr>, Dial<Resolver, Mock>> {
    let mock = Mock::new([(v4(1), Does::CONNECTS)]);
    Contract::between(
        move |probe| DialLayer::with_attempt(mock.clone()).layer(probe),
        || Uri::from_static("http://billing.test"),
        |_| vec![v4(1)],
    )
    .errors_in_chain()
}

mod keeps_the_contract {
    tollgate_testing::contract_tests!(super::contract());
}
