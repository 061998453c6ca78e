//! `POST /graphql` with `Accept: text/event-stream`: one operation, each answer an event `next`, and `complete` at the end. For clients and
//! proxies without websockets, and for `curl`.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};

use crate::{
    graphql::{
        asking::Asking,
        document::{Prepared, Refusal},
        operation,
        response::{self, Answer},
    },
    state::AppState,
};

/// How often a comment goes out, so that proxies keep the connection.
const ALIVE: Duration = Duration::from_secs(15);

/// Whether the client takes event streams.
pub(crate) fn is_listed(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|entry| entry.split(';').next())
        .any(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Answers one operation. What is wrong with its document is said by an event as well.
///
/// # Errors
/// The caller has too many operations open.
pub(crate) fn answer(
    state: &AppState,
    prepared: Result<Prepared, Refusal>,
    asking: Asking,
) -> Result<Response, Refusal> {
    let held = operation::enter(state, &asking)?;
    let answers = match prepared {
        Ok(prepared) => operation::answers(state, prepared, asking).left_stream(),
        Err(refusal) => {
            let answer = Answer::refusal(refusal, &asking.request_id);
            stream::once(std::future::ready(answer)).right_stream()
        }
    };
    let events = answers
        .take_until(state.settings.stop.clone().cancelled_owned())
        .map(move |answer| {
            let _ = &held;
            Event::default().event("next").data(response::text(&answer))
        })
        .chain(stream::once(async {
            Event::default().event("complete").data("")
        }))
        .map(Ok::<_, Infallible>);
    let alive = KeepAlive::new().interval(ALIVE);
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    // Proxies that gather answers before they pass them on are asked not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_asked_for_by_name_only() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; q=0.9", true),
            ("application/json, text/event-stream", true),
            ("*/*", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(is_listed(&headers), expected, "{accept}");
        }
    }
}
