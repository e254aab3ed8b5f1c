//! Every kind of call, over plain TCP and over TLS.

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tollgate::Client;
use tonic::{Code, Request};

use crate::greeter::{GreeterClient, Hello};
use crate::server::Upstream;

/// Makes a call of each kind.
async fn every_kind(mut greeter: GreeterClient<Client>) {
    let unary = greeter.say_hello(Hello::new("hello")).await.unwrap();
    assert_eq!(unary.metadata().get("greeter").unwrap(), "at your service");
    assert_eq!(unary.into_inner().text, "hello");

    let counted = greeter.count(Hello::new(1_000)).await.unwrap().into_inner();
    let counted: Vec<_> = counted
        .map_ok(|hello| hello.text)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(counted.len(), 1_000);
    assert!(
        counted
            .iter()
            .enumerate()
            .all(|(n, text)| *text == n.to_string())
    );

    let numbers = stream::iter((0..1_000).map(Hello::new));
    let sum = greeter.sum(numbers).await.unwrap();
    assert_eq!(sum.into_inner().text, "499500");

    // One word at a time, each after the answer to the one before.
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async {
        said.recv().await.map(|text| (text, said))
    });
    let mut heard = greeter.chat(said).await.unwrap().into_inner();
    for n in 0..100 {
        say.send(Hello::new(n)).await.unwrap();
        assert_eq!(heard.message().await.unwrap(), Some(Hello::new(n)));
    }
    drop(say);
    assert_eq!(heard.message().await.unwrap(), None);
    assert!(heard.trailers().await.unwrap().is_some());
}

async fn twenty_of_every_kind_share_one_connection(upstream: Upstream) {
    let client = upstream.client();
    join_all((0..20).map(|_| every_kind(upstream.greeter_over(&client)))).await;
    assert_eq!(upstream.greeter.calls(), 80);
    assert_eq!(upstream.stats(&client).opened, 1);
    upstream.at_rest(&client).await;
}

#[tokio::test]
async fn every_grpc_kind_works_over_h2c() {
    twenty_of_every_kind_share_one_connection(Upstream::plain().await).await;
}

#[tokio::test]
async fn every_grpc_kind_works_over_tls_alpn() {
    twenty_of_every_kind_share_one_connection(Upstream::tls()).await;
}

#[tokio::test]
async fn status_arrives_whole_from_head_or_trailers() {
    for upstream in [Upstream::plain().await, Upstream::tls()] {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let in_the_head = greeter.say_hello(Hello::new("fail")).await.unwrap_err();
        let counted = greeter
            .count(Hello::new("fail"))
            .await
            .unwrap()
            .into_inner();
        let mut counted: Vec<_> = counted.collect().await;
        let in_the_trailers = counted.pop().unwrap().unwrap_err();
        assert_eq!(counted.len(), 2);
        for status in [in_the_head, in_the_trailers] {
            assert_eq!(status.code(), Code::Aborted);
            assert_eq!(status.message(), "not today: 100 %, änd why");
            assert_eq!(status.details(), b"\0why");
            assert_eq!(status.metadata().get("retry-in").unwrap(), "7");
        }
        upstream.at_rest(&client).await;
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let upstream = Upstream::plain().await;
    let client = upstream.client();
    let mut elsewhere = tonic::client::Grpc::with_origin(client.clone(), upstream.uri.clone());
    elsewhere.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/greeter.Greeter/Dance");
    let codec = tonic_prost::ProstCodec::<Hello, Hello>::default();
    let answer = elsewhere
        .unary(Request::new(Hello::new("")), path, codec)
        .await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    upstream.at_rest(&client).await;
}
