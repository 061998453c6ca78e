//! Anything that has a global id.

use async_graphql::{Context, Error, ID, Interface};

use crate::graphql::{
    asking::asking,
    ids::{self, Target},
    loaders::{BacklogOf, VersionOf, load},
    objects::{
        app::AppObject,
        attempt::{self, StepAttemptObject},
        bulk::{self, CancellationObject, ReplayObject},
        environment::EnvironmentObject,
        event::EventObject,
        event_type::{self, EventTypeObject},
        function::FunctionObject,
        function_version::FunctionVersionObject,
        queue::FunctionBacklog,
        run::{self, RunObject},
        step::{self, StepObject},
        sync::{self, SyncObject},
        trace::{self, TraceSpanObject},
        viewer::OrganizationObject,
        wait::WaitObject,
    },
};

/// Anything that has a global id and can be fetched again with node(id).
#[derive(Interface)]
#[graphql(
    name = "Node",
    field(
        name = "id",
        ty = "ID",
        desc = "Global id: type prefix, underscore, native id."
    )
)]
pub(crate) enum Node {
    Environment(EnvironmentObject),
    App(AppObject),
    Function(FunctionObject),
    Event(EventObject),
    Run(RunObject),
    Step(StepObject),
    Attempt(StepAttemptObject),
    Span(TraceSpanObject),
    Wait(WaitObject),
    FunctionVersion(FunctionVersionObject),
    EventType(EventTypeObject),
    Organization(OrganizationObject),
    Backlog(FunctionBacklog),
    Cancellation(CancellationObject),
    Replay(ReplayObject),
    Sync(SyncObject),
}

/// The object with this id; none when it is missing, not visible, or the text is no global id.
pub(crate) async fn find(ctx: &Context<'_>, id: &ID) -> Option<Result<Node, Error>> {
    let asking = asking(ctx);
    match ids::target(id)? {
        Target::Environment(env) => {
            (env == asking.actor.env).then(|| Ok(Node::Environment(EnvironmentObject::of(asking))))
        }
        Target::Organization(org) => {
            (org == asking.actor.org).then(|| Ok(Node::Organization(OrganizationObject)))
        }
        Target::Backlog(function) => load(ctx, BacklogOf(function))
            .await
            .transpose()
            .map(|found| found.map(|it| Node::Backlog(FunctionBacklog(it)))),
        Target::EventType(env, name) => {
            if env != asking.actor.env {
                return None;
            }
            let found = event_type::find(ctx, name).await?;
            Some(found.map(Node::EventType))
        }
        Target::FunctionVersion(function, number) => load(ctx, VersionOf(function, number))
            .await
            .transpose()
            .map(|found| found.map(|it| Node::FunctionVersion(FunctionVersionObject(it)))),
        Target::App(app) => load(ctx, app)
            .await
            .transpose()
            .map(|found| found.map(|app| Node::App(AppObject(app)))),
        Target::Function(function) => load(ctx, function)
            .await
            .transpose()
            .map(|found| found.map(|it| Node::Function(FunctionObject(it)))),
        Target::Event(event) => load(ctx, event)
            .await
            .transpose()
            .map(|found| found.map(|event| Node::Event(EventObject(event)))),
        Target::Run(run) => run::find(ctx, run).await.map(|found| found.map(Node::Run)),
        Target::Step(run, step) => step::find(ctx, run, &step)
            .await
            .map(|found| found.map(Node::Step)),
        Target::Attempt(run, step, number) => {
            let step = match step::find(ctx, run, &step).await? {
                Ok(step) => step,
                Err(error) => return Some(Err(error)),
            };
            match attempt::of_step(ctx, &step.0).await {
                Ok(attempts) => attempts
                    .into_iter()
                    .find(|attempt| attempt.number_of() == number)
                    .map(|attempt| Ok(Node::Attempt(attempt))),
                Err(error) => Some(Err(error)),
            }
        }
        Target::Span(run, span) => match trace::find(ctx, run).await? {
            Ok(trace) => trace.into_span(span).map(|span| Ok(Node::Span(span))),
            Err(error) => Some(Err(error)),
        },
        Target::Wait(run, step) => match step::find(ctx, run, &step).await? {
            Ok(step) => step.0.wait().map(|wait| Ok(Node::Wait(WaitObject(wait)))),
            Err(error) => Some(Err(error)),
        },
        Target::Cancellation(id) => bulk::find_cancellation(ctx, id)
            .await
            .map(|found| found.map(Node::Cancellation)),
        Target::Replay(id) => bulk::find_replay(ctx, id)
            .await
            .map(|found| found.map(Node::Replay)),
        Target::Sync(id) => sync::find(ctx, id).await.map(|found| found.map(Node::Sync)),
    }
}
