//! Performs a reply, step by step.

use std::future::pending;

use tokio::io::AsyncWriteExt;

use super::connection::{Connection, Ended, Exchange};
use super::reply::Reply;
use super::step::Step;
use super::stream::Wire;

impl<S: Wire> Connection<S> {
    pub(super) async fn perform(
        &mut self,
        reply: Reply,
        mut exchange: Option<&mut Exchange>,
    ) -> Result<(), Ended> {
        let is_head = exchange
            .as_ref()
            .is_some_and(|exchange| exchange.request.method == "HEAD");
        for step in reply.steps {
            match step {
                Step::Head(head) => head.encode(&mut self.out),
                Step::Body(_) if is_head => {}
                Step::Body(bytes) | Step::Write(bytes) => self.out.extend_from_slice(&bytes),
                Step::Echo => self.echo(exchange.as_deref_mut()).await?,
                step => {
                    // What was put together goes out before anything that takes time.
                    self.flush().await?;
                    self.act(step, exchange.as_deref_mut()).await?;
                }
            }
        }
        self.flush().await
    }

    /// A step that is more than bytes to write.
    async fn act(&mut self, step: Step, exchange: Option<&mut Exchange>) -> Result<(), Ended> {
        match step {
            Step::Delay(delay) => self.unless_gone(tokio::time::sleep(delay)).await,
            Step::Wait(gate) => self.unless_gone(gate.wait()).await,
            Step::Hold => self.unless_gone(pending()).await,
            Step::Shutdown => Ok(self.stream.shutdown().await?),
            Step::Close => self.close().await,
            Step::Reset => {
                self.stream.reset_on_drop();
                Err(Ended)
            }
            Step::EchoBytes => self.echo_bytes().await,
            Step::ReadBody => match exchange {
                Some(exchange) => self.read_body(exchange).await,
                None => Ok(()),
            },
            Step::Head(_) | Step::Body(_) | Step::Write(_) | Step::Echo => Ok(()),
        }
    }

    async fn echo(&mut self, exchange: Option<&mut Exchange>) -> Result<(), Ended> {
        let Some(exchange) = exchange else {
            return Ok(());
        };
        self.read_body(exchange).await?;
        let body = exchange.body.bytes();
        for step in Reply::ok(body).steps {
            match step {
                Step::Head(head) => head.encode(&mut self.out),
                Step::Body(_) if exchange.request.method == "HEAD" => {}
                Step::Body(bytes) => self.out.extend_from_slice(&bytes),
                _ => {}
            }
        }
        Ok(())
    }

    async fn echo_bytes(&mut self) -> Result<(), Ended> {
        loop {
            let bytes = self.buf.split();
            self.stream.write_all(&bytes).await?;
            self.read_more().await?;
        }
    }
}
