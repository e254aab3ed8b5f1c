//! The cache as a resolver for reqwest.

use hyper_util::client::legacy::connect::dns::Name as HyperName;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tollgate_core::BoxError;
use tower_service::Service;

use crate::addresses::answer::IntoAnswer;
use crate::outside::service::CachedDns;

/// `reqwest::Client::builder().dns_resolver(dns)`.
///
/// reqwest boxes the future and the addresses, so a hit costs allocations here.
impl<B> Resolve for CachedDns<B>
where
    B: Service<HyperName> + Clone + Send + Sync + 'static,
    B::Response: IntoAnswer,
    B::Error: Into<BoxError>,
    B::Future: Send,
{
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = name.as_str().parse().map(|name| self.clone().call(name));
        Box::pin(async move { Ok(Box::new(lookup?.await?) as Addrs) })
    }
}
