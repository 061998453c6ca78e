//! Jumping to something by its id or its name.

use async_graphql::{Context, Error, Union};

use inngest_services::{QUICK_HITS, QuickHit};

use crate::graphql::{
    error::bad_input,
    listed::QuickSearch,
    objects::{
        app::AppObject, event::EventObject, event_type::EventTypeObject, function::FunctionObject,
        run::RunObject,
    },
    related::answer,
};

/// Hits when nothing is said about their number.
const USUAL: i32 = 10;

/// Something found by quickSearch.
#[derive(Union)]
#[graphql(name = "QuickSearchHit")]
pub(crate) enum QuickSearchHit {
    App(AppObject),
    Function(FunctionObject),
    Run(RunObject),
    Event(EventObject),
    EventType(EventTypeObject),
}

impl From<QuickHit> for QuickSearchHit {
    fn from(hit: QuickHit) -> Self {
        match hit {
            QuickHit::App(app) => Self::App(AppObject(app)),
            QuickHit::Function(function) => Self::Function(FunctionObject(function)),
            QuickHit::Run(run) => Self::Run(RunObject(run)),
            QuickHit::Event(event) => Self::Event(EventObject(event)),
            QuickHit::EventName(name) => Self::EventType(EventTypeObject(name)),
        }
    }
}

/// What a search for so many costs.
pub(crate) fn cost(first: Option<i32>, children: usize) -> usize {
    let most = usize::try_from(first.unwrap_or(USUAL)).unwrap_or(0);
    20 + most.min(QUICK_HITS).saturating_mul(children)
}

/// What is found in the caller's environment.
pub(crate) async fn find(
    ctx: &Context<'_>,
    term: String,
    first: Option<i32>,
) -> Result<Vec<QuickSearchHit>, Error> {
    let most = usize::try_from(first.unwrap_or(USUAL)).unwrap_or(0);
    if !(1..=QUICK_HITS).contains(&most) {
        return Err(bad_input(format!(
            "`first` takes 1 to {QUICK_HITS}, and 10 when it is omitted"
        )));
    }
    let found = answer(ctx, QuickSearch(term, most)).await?;
    Ok(found.into_iter().map(Into::into).collect())
}
