//! Sending events and signals, starting functions.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use inngest_core::{
    ids::{EventId, FunctionId},
    json::Json,
    limits, wire,
};

use crate::graphql::{
    asking::{Asking, asking},
    error::failed,
    ids::{self, GlobalId},
    loaders::load,
    mutation::request_key,
    objects::{
        environment::EnvironmentObject, event::EventObject, run::RunObject, user_error::UserError,
    },
    related::FirstRunOf,
    scalars::{DateTime, JsonScalar},
};

#[derive(Default)]
pub(super) struct EventMutations;

/// Events to send.
#[derive(InputObject)]
struct SendEventsInput {
    /// Receiving environment.
    environment_id: ID,
    /// The events, at most ApiLimits.maxEventsPerRequest.
    events: Vec<EventInput>,
    /// Repeating the call with the same key within 24 hours returns the first result.
    idempotency_key: Option<String>,
}

/// One event.
#[derive(InputObject)]
struct EventInput {
    /// Event name; the inngest/ prefix is reserved.
    name: String,
    /// Event data, an object; empty when omitted.
    data: Option<JsonScalar>,
    /// User object.
    user: Option<JsonScalar>,
    /// Producer id that suppresses duplicates for 24 hours.
    id: Option<String>,
    /// When it happened; now when omitted. A later time delays the runs.
    ts: Option<DateTime>,
    /// Version of the shape.
    v: Option<String>,
}

impl EventInput {
    /// The event as an SDK would send it, so that one reader knows all rules.
    fn to_json(&self) -> Json {
        let name = Json::string(&self.name);
        let data = self
            .data
            .as_ref()
            .map_or_else(Json::empty_object, |data| data.0.clone());
        let id = self.id.as_deref().map(Json::string);
        let ts = self.ts.map(|ts| Json::integer(ts.0.as_millis()));
        let v = self.v.as_deref().map(Json::string);
        let mut members = vec![("name", &name), ("data", &data)];
        members.extend(self.user.as_ref().map(|user| ("user", &user.0)));
        members.extend(id.as_ref().map(|id| ("id", id)));
        members.extend(ts.as_ref().map(|ts| ("ts", ts)));
        members.extend(v.as_ref().map(|v| ("v", v)));
        Json::object(members)
    }
}

/// Result of sendEvents; either all events are accepted or none.
#[derive(SimpleObject, Default)]
struct SendEventsPayload {
    /// Ids in the order of the input.
    event_ids: Vec<ID>,
    /// The stored events.
    events: Vec<EventObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Function to start.
#[derive(InputObject)]
struct InvokeFunctionInput {
    /// The function.
    function_id: ID,
    /// Event data, an object; empty when omitted.
    data: Option<JsonScalar>,
    /// User object.
    user: Option<JsonScalar>,
    /// Repeating the call with the same key within 24 hours returns the first run.
    idempotency_key: Option<String>,
}

/// Result of invokeFunction.
#[derive(SimpleObject, Default)]
struct InvokeFunctionPayload {
    /// The run, null until it has been scheduled; the event leads to it.
    run: Option<RunObject>,
    /// The invocation event.
    event: Option<EventObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Signal to send.
#[derive(InputObject)]
struct SendSignalInput {
    /// Environment of the waiting run.
    environment_id: ID,
    /// Signal name.
    signal: String,
    /// Value the wait returns.
    data: Option<JsonScalar>,
    /// Repeating the call with the same key within 24 hours returns the first result.
    idempotency_key: Option<String>,
}

/// Result of sendSignal.
#[derive(SimpleObject, Default)]
struct SendSignalPayload {
    /// The run that was resumed.
    run: Option<RunObject>,
    /// False when nobody waits for the signal.
    delivered: bool,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Sending events and signals, starting functions.
#[Object]
impl EventMutations {
    /// Sends events. Needs EVENTS_SEND.
    async fn send_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: SendEventsInput,
    ) -> Result<SendEventsPayload, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &input.environment_id)?;
        let parts: Vec<Json> = input.events.iter().map(EventInput::to_json).collect();
        let body = Json::array(parts.iter());
        let now = asking.services.clock().now();
        let refused = |error: UserError| SendEventsPayload {
            errors: vec![error],
            ..SendEventsPayload::default()
        };
        let (given, limit) = (input.events.len(), limits::EVENTS_PER_REQUEST);
        if given > limit {
            let path = ["input", "events"];
            return Ok(refused(UserError::too_many("events", limit, given, &path)));
        }
        let events = match wire::event::parse_events(
            body.as_bytes(),
            None,
            None,
            now,
            asking.services.ids(),
        ) {
            Ok(events) => events,
            Err(error) => {
                let index = error.index.map(|index| index.to_string());
                let path: Vec<&str> = ["input", "events"]
                    .into_iter()
                    .chain(index.as_deref())
                    .collect();
                return Ok(refused(UserError::invalid(error.message, &path)));
            }
        };
        if events.is_empty() {
            return Ok(SendEventsPayload::default());
        }
        let sent = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let (actor, services) = (&asking.actor, &asking.services);
            services.events().send(actor, events, key).await
        };
        match sent.await {
            Ok(ids) => {
                let stored = stored(ctx, asking, &ids).await?;
                Ok(SendEventsPayload {
                    event_ids: ids.iter().map(GlobalId::global).collect(),
                    events: stored,
                    errors: Vec::new(),
                })
            }
            Err(error) => Ok(refused(UserError::sort(
                &error,
                &["input", "events"],
                None,
                &asking.request_id,
            )?)),
        }
    }

    /// Starts a run of one function. Needs EVENTS_SEND.
    async fn invoke_function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: InvokeFunctionInput,
    ) -> Result<InvokeFunctionPayload, Error> {
        let asking = asking(ctx);
        let path = ["input", "functionId"];
        let refused = |error: UserError| InvokeFunctionPayload {
            errors: vec![error],
            ..InvokeFunctionPayload::default()
        };
        let id: FunctionId = ids::parse(&input.function_id)?;
        let Some(function) = load(ctx, id)
            .await?
            .filter(|function| function.archived_at.is_none())
        else {
            let missing = inngest_services::Error::NotFound {
                what: "function",
                id: id.to_string(),
            };
            return Ok(refused(UserError::sort(
                &missing,
                &path,
                Some(&input.function_id),
                &asking.request_id,
            )?));
        };
        let data = input.data.map_or_else(Json::empty_object, |data| data.0);
        let mut members = vec![("data", &data)];
        members.extend(input.user.as_ref().map(|user| ("user", &user.0)));
        let body = Json::object(members);
        let now = asking.services.clock().now();
        let event = match wire::event::parse_invoke(
            body.as_bytes(),
            &function.slug,
            None,
            now,
            asking.services.ids(),
        ) {
            Ok(event) => event,
            Err(error) => {
                return Ok(refused(UserError::invalid(
                    error.message,
                    &["input", "data"],
                )));
            }
        };
        let invoked = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let (actor, services) = (&asking.actor, &asking.services);
            services
                .events()
                .invoke_function(actor, function.id, event, key)
                .await
        };
        match invoked.await {
            Ok(id) => {
                let event = stored(ctx, asking, &[id]).await?.pop();
                let run = load(ctx, FirstRunOf(id)).await?.map(RunObject);
                Ok(InvokeFunctionPayload {
                    run,
                    event,
                    errors: Vec::new(),
                })
            }
            Err(error) => Ok(refused(UserError::sort(
                &error,
                &path,
                Some(&input.function_id),
                &asking.request_id,
            )?)),
        }
    }

    /// Resumes a run that waits for a signal. Needs RUNS_MANAGE.
    async fn send_signal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: SendSignalInput,
    ) -> Result<SendSignalPayload, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &input.environment_id)?;
        let data = input.data.map_or_else(Json::null, |data| data.0);
        let sent = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let (actor, services) = (&asking.actor, &asking.services);
            services
                .signals()
                .send(actor, &input.signal, data, key)
                .await
        };
        match sent.await {
            Ok(run) => {
                let run = asking
                    .services
                    .runs()
                    .get(&asking.actor, run)
                    .await
                    .map_err(|error| failed(ctx, &error))?;
                Ok(SendSignalPayload {
                    run: Some(RunObject(run)),
                    delivered: true,
                    errors: Vec::new(),
                })
            }
            Err(inngest_services::Error::NotFound { .. }) => Ok(SendSignalPayload::default()),
            Err(error) => {
                let error =
                    UserError::sort(&error, &["input", "signal"], None, &asking.request_id)?;
                Ok(SendSignalPayload {
                    errors: vec![error],
                    ..SendSignalPayload::default()
                })
            }
        }
    }
}

/// The events with these ids, in their order.
async fn stored(
    ctx: &Context<'_>,
    asking: &Asking,
    ids: &[EventId],
) -> Result<Vec<EventObject>, Error> {
    if !ctx.look_ahead().field("events").exists() && !ctx.look_ahead().field("event").exists() {
        return Ok(Vec::new());
    }
    let found = asking
        .services
        .events()
        .get_many(&asking.actor, ids)
        .await
        .map_err(|error| failed(ctx, &error))?;
    Ok(ids
        .iter()
        .filter_map(|id| found.get(id).cloned())
        .map(EventObject)
        .collect())
}
