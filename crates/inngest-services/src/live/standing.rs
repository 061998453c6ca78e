//! Who watches, and whether they still may: a stream can outlive the right to see it.

use inngest_core::{
    access::{Actor, Scope},
    time::{Clock, Timestamp},
};
use tokio::{sync::watch, time::sleep};

use crate::Error;

/// Who watches. A cheap handle; clones follow the same actor.
#[derive(Clone, Debug)]
pub struct Standing(watch::Receiver<Actor>);

impl Standing {
    /// An actor whose credential may be renewed by sending the actor that the new one stands for.
    pub fn renewable(actor: Actor) -> (watch::Sender<Actor>, Self) {
        let (renew, standing) = watch::channel(actor);
        (renew, Self(standing))
    }

    /// An actor whose credential is not renewed.
    pub fn of(actor: Actor) -> Self {
        Self::renewable(actor).1
    }

    /// The actor as of now.
    pub fn actor(&self) -> Actor {
        self.0.borrow().clone()
    }

    /// # Errors
    /// `Unauthenticated` when the credential has ended, `Denied` when it does not reach this far.
    pub(crate) fn check(&mut self, scope: Scope, now: Timestamp) -> Result<(), Error> {
        let actor = self.0.borrow_and_update();
        if actor.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Unauthenticated {
                code: "credential_expired",
                message: "the credential has expired; sign in again and go on from the last cursor"
                    .to_owned(),
            });
        }
        Ok(actor.require(scope)?)
    }

    /// Waits until the credential has ended, or was renewed since the last check.
    pub(crate) async fn changed(&mut self, clock: &Clock) {
        let end = self.0.borrow().expires_at;
        let until_end = async {
            match end {
                Some(end) => sleep(end.since(clock.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until_end => {}
            renewed = self.0.changed() => {
                if renewed.is_err() {
                    // Nobody renews it.
                    match end {
                        Some(end) => sleep(end.since(clock.now())).await,
                        None => std::future::pending().await,
                    }
                }
            }
        }
    }
}

impl From<Actor> for Standing {
    fn from(actor: Actor) -> Self {
        Self::of(actor)
    }
}
