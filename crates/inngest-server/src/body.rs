//! Reading a request's body within a size and a time, and all of them together within a size.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{body::Body, http::header::CONTENT_LENGTH};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::EXPECT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use metrics::{counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;

/// Longest time between the first and the last byte of a body.
const READ_TIME: Duration = Duration::from_secs(60);
/// How long the rest of a refused body is still taken from the connection.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge {
        limit: usize,
    },
    TooSlow,
    Cut,
    /// The bodies of other requests take all the memory that there is for them.
    NoRoom,
}

impl Unreadable {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "body_too_large",
            Self::TooSlow => "body_too_slow",
            Self::Cut => "body_cut_off",
            Self::NoRoom => "server_busy",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::TooLarge { limit } => {
                format!("the body of this request may have at most {limit} bytes")
            }
            Self::TooSlow => "the body of this request did not arrive in time".to_owned(),
            Self::Cut => "the body of this request ended early".to_owned(),
            Self::NoRoom => {
                "the server is at its limit of requests at once; try again in a moment".to_owned()
            }
        }
    }
}

/// The memory for the bodies of all requests at once. A body takes its part before it is read and until its request is answered; where
/// there is none left the request is refused.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// A permit for each byte.
    room: Arc<Semaphore>,
    tracker: TaskTracker,
}

/// A body, and its part of the memory for bodies.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Bytes,
    room: Room,
}

/// Part of the memory for bodies, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Held {
    /// Lets go of the bytes, and keeps their room for what was made of them.
    pub(crate) fn into_room(self) -> Room {
        self.room
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        gauge!("inngest_request_body_bytes").decrement(self.0.num_permits() as f64);
    }
}

impl Bodies {
    /// At most so many bytes at once.
    pub(crate) fn new(bytes: usize, tracker: TaskTracker) -> Self {
        let room = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self { room, tracker }
    }

    /// The whole body. A declared length beyond `limit`, or for which there is no room, is refused before anything is read.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        limit: usize,
    ) -> Result<Held, Unreadable> {
        let declared = declared_length(headers, limit)?;
        let read = match self.take(declared.unwrap_or(0)) {
            Ok(room) => timeout(
                READ_TIME,
                self.collect(&mut body, declared, Room(room), limit),
            )
            .await
            .unwrap_or(Err(Unreadable::TooSlow)),
            Err(refused) => Err(refused),
        };
        if read
            .as_ref()
            .is_err_and(|error| *error == Unreadable::NoRoom)
        {
            counter!("inngest_requests_refused_total", "reason" => "bodies").increment(1);
            self.drain(headers, body, limit);
        }
        read
    }

    async fn collect(
        &self,
        body: &mut Body,
        declared: Option<usize>,
        mut room: Room,
        limit: usize,
    ) -> Result<Held, Unreadable> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unreadable::Cut)?.into_data() else {
                continue;
            };
            if bytes.is_empty() && declared == Some(data.len()) {
                // All of it, as it is with most.
                return Ok(Held { bytes: data, room });
            }
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(Unreadable::TooLarge { limit });
            }
            let paid = room.0.num_permits();
            if length > paid {
                room.0.merge(self.take(length - paid)?);
            }
            bytes.reserve(declared.unwrap_or(0).saturating_sub(bytes.len()));
            bytes.extend_from_slice(&data);
        }
        let bytes = bytes.freeze();
        Ok(Held { bytes, room })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unreadable> {
        let count = u32::try_from(bytes).map_err(|_| Unreadable::NoRoom)?;
        let taken = self.room.clone().try_acquire_many_owned(count);
        let taken = taken.map_err(|_| Unreadable::NoRoom)?;
        gauge!("inngest_request_body_bytes").increment(f64::from(count));
        Ok(taken)
    }

    /// Reads what is left of a refused body and forgets it: a sender that is still sending when its connection is closed may never see
    /// the answer.
    fn drain(&self, headers: &HeaderMap, body: Body, limit: usize) {
        if headers.contains_key(EXPECT) {
            // It waits to be told to send, and is told otherwise.
            return;
        }
        let mut body = Limited::new(body, limit);
        self.tracker.spawn(async move {
            let reading = async { while let Some(Ok(_)) = body.frame().await {} };
            // Whoever takes longer is cut off.
            let _ = timeout(DRAIN_TIME, reading).await;
        });
    }
}

/// The whole body of a request that is not refused for lack of memory, because it reports what has been done: there are no more of these
/// than calls in flight.
pub(crate) async fn read_report(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Unreadable> {
    declared_length(headers, limit)?;
    match timeout(READ_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unreadable::TooLarge { limit }),
        Ok(Err(_)) => Err(Unreadable::Cut),
        Err(_) => Err(Unreadable::TooSlow),
    }
}

/// The length that a request announces, if it does.
fn declared_length(headers: &HeaderMap, limit: usize) -> Result<Option<usize>, Unreadable> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    match length {
        Some(length) if length > limit => Err(Unreadable::TooLarge { limit }),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::{StreamExt, stream};

    use super::*;

    fn bodies(bytes: usize) -> Bodies {
        Bodies::new(bytes, TaskTracker::new())
    }

    fn announcing(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, length.into())])
    }

    #[tokio::test]
    async fn body_beyond_its_limit_is_refused_whether_declared_or_not() {
        let bodies = bodies(100);
        let too_large = Unreadable::TooLarge { limit: 4 };
        for (headers, body) in [
            (HeaderMap::new(), Body::from("12345")),
            (announcing(5), Body::empty()),
        ] {
            let read = bodies.read(&headers, body, 4).await;
            assert_eq!(read.unwrap_err(), too_large);
        }
        let report = read_report(&announcing(5), Body::empty(), 4).await;
        assert_eq!(report, Err(too_large));
        let read = bodies.read(&HeaderMap::new(), Body::from("1234"), 4).await;
        assert_eq!(*read.unwrap(), *b"1234");
    }

    #[tokio::test]
    async fn bodies_share_their_memory_until_their_requests_are_answered() {
        let bodies = bodies(10);
        let first = bodies.read(&announcing(6), Body::from("123456"), 10).await;
        let first = first.unwrap();
        let refused = bodies.read(&announcing(5), Body::from("12345"), 10).await;
        assert_eq!(refused.unwrap_err(), Unreadable::NoRoom);
        // One that does not say how long it is takes room as it comes.
        let parts = ["123", "4"].map(|part| Ok::<_, Infallible>(Bytes::from(part)));
        let body = Body::from_stream(stream::iter(parts));
        let second = bodies.read(&HeaderMap::new(), body, 10).await.unwrap();
        assert_eq!(*second, *b"1234");
        let body = Body::from("1");
        let refused = bodies.read(&HeaderMap::new(), body, 10).await;
        assert_eq!(refused.unwrap_err(), Unreadable::NoRoom);
        // Its bytes are gone, and what was made of them is still there.
        let room = first.into_room();
        assert_eq!(bodies.room.available_permits(), 0);
        drop((room, second));
        assert_eq!(bodies.room.available_permits(), 10);
    }

    #[tokio::test]
    async fn body_that_breaks_off_gives_its_room_back() {
        let bodies = bodies(10);
        let parts = [Ok(Bytes::from("123")), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(stream::iter(parts));
        let read = bodies.read(&announcing(6), body, 10).await;
        assert_eq!(read.unwrap_err(), Unreadable::Cut);
        assert_eq!(bodies.room.available_permits(), 10);
    }

    #[tokio::test]
    async fn refused_body_is_taken_from_the_connection_unless_it_waits_for_a_word() {
        let bodies = bodies(1);
        let taken = Arc::new(AtomicUsize::new(0));
        let body = || {
            let taken = taken.clone();
            Body::from_stream(stream::iter(["12", "34"]).map(move |part| {
                taken.fetch_add(part.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(Bytes::from(part))
            }))
        };
        for (expects, drained) in [(true, false), (false, true)] {
            taken.store(0, Ordering::Relaxed);
            let mut headers = announcing(4);
            if expects {
                headers.insert(EXPECT, "100-continue".parse().unwrap());
            }
            let read = bodies.read(&headers, body(), 10).await;
            assert_eq!(read.unwrap_err(), Unreadable::NoRoom);
            bodies.tracker.close();
            bodies.tracker.wait().await;
            assert_eq!(taken.load(Ordering::Relaxed) > 0, drained);
        }
    }
}
