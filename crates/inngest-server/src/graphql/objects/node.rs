//! Anything that has a global id.

use async_graphql::{Context, Error, ID, Interface};

use crate::graphql::{
    asking::asking,
    error::nullable,
    ids::{self, Target},
    loaders::{StepsOf, load},
    objects::{
        app::AppObject, environment::EnvironmentObject, event::EventObject,
        function::FunctionObject, run::RunObject, step::StepObject,
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
}

/// The object with this id; none when it is missing, not visible, or the text is no global id.
pub(crate) async fn find(ctx: &Context<'_>, id: &ID) -> Option<Result<Node, Error>> {
    let asking = asking(ctx);
    match ids::target(id)? {
        Target::Environment(env) => {
            (env == asking.actor.env).then(|| Ok(Node::Environment(EnvironmentObject::of(asking))))
        }
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
        Target::Run(run) => nullable(
            ctx,
            asking
                .services
                .runs()
                .get(&asking.actor, run)
                .await
                .map(|run| Node::Run(RunObject(run))),
        ),
        Target::Step(run, step) => match load(ctx, StepsOf(run)).await {
            Ok(steps) => steps?
                .into_iter()
                .find(|found| found.step == step)
                .map(|found| Ok(Node::Step(StepObject(found)))),
            Err(error) => Some(Err(error)),
        },
    }
}
