//! The executor that hyper gives a connection's frames to.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;

use super::Frames;

/// An executor that catches the first future it is given, the connection's frames, and spawns the
/// others: each sends the body of one request.
#[derive(Clone, Default)]
pub(super) struct Catch(Arc<Mutex<Caught>>);

#[derive(Default)]
enum Caught {
    #[default]
    Nothing,
    Frames(Frames),
    Taken,
}

impl Catch {
    pub(super) fn caught(&self) -> Frames {
        let caught = std::mem::replace(&mut *self.locked(), Caught::Taken);
        match caught {
            Caught::Frames(frames) => frames,
            Caught::Nothing | Caught::Taken => Box::pin(std::future::pending()),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Caught> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for Catch
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut caught = self.locked();
        if let Caught::Nothing = *caught {
            *caught = Caught::Frames(Box::pin(future));
        } else {
            drop(caught);
            drop(tokio::spawn(future));
        }
    }
}
