//! One request and its response, read to the end.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use tollgate::{BoxError, Client};

use crate::Options;
use crate::body::{Files, Pieces};

/// The request of this number: every tenth is a POST, unless none are to be, or all.
pub(crate) fn request(options: &Options, files: &Files, nth: u64) -> Request<Pieces> {
    let mut request = Request::new(Pieces::default());
    *request.uri_mut() = options.url.clone();
    if let Some(upload) = &files.upload {
        *request.method_mut() = Method::POST;
        *request.body_mut() = Pieces(upload.clone());
    } else if nth % 10 == 9 && !options.only_get {
        *request.method_mut() = Method::POST;
        *request.body_mut() = Pieces(Bytes::from_static(b"an invoice"));
    }
    request
}

pub(crate) async fn exchange(
    client: &Client,
    options: &Options,
    files: &Files,
    nth: u64,
) -> Result<(), BoxError> {
    let response = client.request(request(options, files, nth)).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if let Some(expected) = &files.expect
            && expected.get(at..at + data.len()) != Some(&data[..])
        {
            return Err("a body is not what was expected".into());
        }
        at += data.len();
    }
    if !status.is_success() {
        return Err(format!("status {status}").into());
    }
    match &files.expect {
        Some(expected) if expected.len() != at => Err("a body is too short".into()),
        _ => Ok(()),
    }
}

/// The error and what lies below it.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
