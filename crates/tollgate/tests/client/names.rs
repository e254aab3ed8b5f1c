//! Addresses that leave their name's answer, or do not connect.

use tollgate::{Client, ErrorKind};
use tollgate_testing::Upstream;
use tollgate_testing::dns::{Answer, DnsServer};

use crate::support::{cached, text};

#[tokio::test]
async fn connections_leave_an_address_that_left_the_answer() {
    let old = Upstream::builder().bind(([127, 0, 0, 1], 0)).start().await;
    let port = old.addr().port();
    let new = Upstream::builder()
        .bind(([127, 0, 0, 2], port))
        .start()
        .await;
    let dns = DnsServer::start().await;
    dns.set("moving.internal", Answer::addrs([old.addr().ip()]).ttl(300));
    let client = Client::builder()
        .resolver(cached::hickory(&dns))
        .build()
        .unwrap();
    let uri = format!("http://moving.internal:{port}/");
    text(client.get(&*uri).await.unwrap()).await;
    assert_eq!(old.live(), 1);

    dns.set("moving.internal", Answer::addrs([new.addr().ip()]).ttl(300));
    let names = client.dns().unwrap();
    names.invalidate("moving.internal");
    names.refresh("moving.internal");
    old.settled(|stats| stats.live == 0).await;
    text(client.get(&*uri).await.unwrap()).await;
    assert_eq!(new.accepted(), 1);
    let stats = client.stats(&uri).unwrap();
    assert_eq!(stats.closed_for(tollgate::CloseReason::AddressGone), 1);
}

#[tokio::test]
async fn failed_addresses_are_resolved_anew_and_tried_last() {
    let refused = tollgate_testing::Refused::start([127, 0, 0, 1]);
    let dns = DnsServer::start().await;
    dns.set(
        "dead.internal",
        Answer::addrs([refused.addr().ip()]).ttl(300),
    );
    let client = Client::builder()
        .resolver(cached::hickory(&dns))
        .build()
        .unwrap();
    let uri = format!("http://dead.internal:{}/", refused.addr().port());
    let error = client.get(uri).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    // Two families, twice.
    dns.reached(4).await;
    let snapshot = client.snapshot();
    assert!(snapshot.names[0].addrs[0].demoted.is_some(), "{snapshot:?}");
}
