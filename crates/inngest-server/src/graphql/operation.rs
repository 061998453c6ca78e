//! One operation as a stream of answers, for the transports that can carry several: a query or a mutation gives one.

use async_graphql::parser::types::OperationType;
use futures_util::{Stream, StreamExt, future::Either, stream};

use inngest_services::{Held, Kept};

use crate::{
    graphql::{
        asking::Asking,
        document::{Prepared, Refusal},
        http as transport, loaders,
        response::{self, Answer},
        stage::Stage,
    },
    state::AppState,
};

/// The answers; after one that failed none follows. An answer that is a refusal is the only one.
pub(crate) fn answers(
    state: &AppState,
    prepared: Prepared,
    asking: Asking,
) -> impl Stream<Item = Answer> + Send + use<> {
    if prepared.kind != OperationType::Subscription {
        let schema = state.schema.clone();
        return Either::Left(stream::once(async move {
            let request_id = asking.request_id.clone();
            match transport::run(&schema, prepared, asking).await {
                Ok((_, answer)) => answer,
                Err(refusal) => Answer::refusal(refusal, &request_id),
            }
        }));
    }
    let stage = Stage::default();
    let request_id = asking.request_id.clone();
    let request = prepared
        .request
        .data(stage.clone())
        .data(loaders::loaders(asking.clone()))
        .data(asking);
    let responses = state.schema.execute_stream(request);
    let answers = responses.map(move |response| response::finish(response, &stage, &request_id).1);
    Either::Right(until_failed(answers))
}

fn until_failed(answers: impl Stream<Item = Answer> + Send) -> impl Stream<Item = Answer> + Send {
    answers.scan(false, |has_failed, answer| {
        let item = (!*has_failed).then_some(answer);
        *has_failed = item.as_ref().is_some_and(Answer::is_failed);
        std::future::ready(item)
    })
}

/// A place among the operations that the asking side may have open.
///
/// # Errors
/// `RATE_LIMITED` when it has as many as it may.
pub(crate) fn enter(state: &AppState, asking: &Asking) -> Result<Held, Refusal> {
    let budgets = state.services.budgets();
    budgets.hold(Kept::Stream, &asking.actor).ok_or_else(|| {
        let most = Kept::Stream.most();
        Refusal::new(
            http::StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            format!("at most {most} operations of one caller may be open; end some first"),
        )
    })
}
