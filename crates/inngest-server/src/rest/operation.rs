//! Operations of REST: what the router and the OpenAPI document are both made of, so that no route exists without its description.
//!
//! What every operation does alike is done here, before its handler runs: who asks, may they, are the parameters those that the
//! operation has, is the body of a type and size that it takes.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, StatusCode, Uri, header::CONTENT_TYPE, request};
use schemars::SchemaGenerator;
use serde_json::Value;

use inngest_core::{
    access::{Actor, Scope},
    json::Json,
};
use inngest_services::{Error, RequestKey, Services};

use crate::{
    auth,
    body::Held,
    middleware::RequestId,
    rest::{
        input::Input,
        notes::Notes,
        problem::{Problem, Refusal, Shape},
        query::{Param, Params},
        reply::Reply,
    },
    state::AppState,
};

/// The header of requests that may be made twice.
pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where operations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mount {
    /// The product's own API.
    Api,
    /// The paths that users of the SDKs know.
    V1,
    /// The newer paths that users of the SDKs know.
    V2,
}

impl Mount {
    /// The prefixes of its paths; the first is the one that is described.
    pub(crate) fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Api => &["/api/v1"],
            Self::V1 => &["/v1"],
            Self::V2 => &["/v2", "/api/v2"],
        }
    }

    /// How its errors look.
    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::Api | Self::V1 => Shape::Details,
            Self::V2 => Shape::List,
        }
    }

    /// Whether what cannot be meant is refused. Clients of `/v1` are used to being understood.
    pub(crate) fn is_strict(self) -> bool {
        match self {
            Self::Api | Self::V2 => true,
            Self::V1 => false,
        }
    }
}

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it is answered without a credential.
    Nothing,
    /// A credential of any worth.
    Caller,
    /// A credential with this scope.
    Scope(Scope),
}

/// What operations are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// An operation as far as it can be told without its types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Unique; in the document as `operationId`, for `/v1` with `V1` at its end.
    pub(crate) id: &'static str,
    pub(crate) verb: Verb,
    /// Below the prefix of the mount.
    pub(crate) path: &'static str,
    pub(crate) mounts: &'static [Mount],
    pub(crate) needs: Needs,
    /// The group in the document.
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) params: &'static [Param],
    /// Whether a request can be made twice by its `Idempotency-Key`.
    pub(crate) repeats: bool,
    /// What a request costs its caller before what it asks for is looked at.
    pub(crate) points: u64,
}

/// One operation.
pub(crate) struct Operation {
    pub(crate) head: Head,
    pub(crate) body: Option<BodyKind>,
    pub(crate) answer: AnswerKind,
    handler: Handler,
}

/// The body that an operation takes.
#[derive(Clone, Copy)]
pub(crate) struct BodyKind {
    pub(crate) schema: fn(&mut SchemaGenerator) -> Value,
    /// Whether it can be left out.
    pub(crate) is_optional: fn() -> bool,
    /// Whether it sends events, which may be larger.
    pub(crate) is_large: bool,
}

/// How an operation answers when it succeeds.
#[derive(Clone, Copy)]
pub(crate) struct AnswerKind {
    pub(crate) status: StatusCode,
    pub(crate) meaning: &'static str,
    /// None for an empty body.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Option<Value>,
    pub(crate) is_page: bool,
    /// The status of an answer with the same body that tells what an earlier request has led to, where it has one of its own.
    pub(crate) repeated: Option<StatusCode>,
}

impl AnswerKind {
    fn of<R: Reply>() -> Self {
        Self {
            status: R::STATUS,
            meaning: R::MEANING,
            schema: R::schema,
            is_page: R::IS_PAGE,
            repeated: R::REPEATED,
        }
    }
}

/// What a search costs beside the entries of its page, in points: it reads up to 20,000 rows.
const SEARCHING: u64 = 100;

type Answering = BoxFuture<'static, Result<Response, Refusal>>;

enum Handler {
    /// Needs no caller.
    Open(Box<dyn Fn(AppState) -> BoxFuture<'static, Response> + Send + Sync>),
    Read(Box<dyn Fn(Ask) -> Answering + Send + Sync>),
    Write(Box<dyn Fn(Ask, Held) -> Answering + Send + Sync>),
}

/// A request whose caller, path and parameters have been looked at.
pub(crate) struct Asked {
    pub(crate) state: AppState,
    pub(crate) actor: Actor,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) params: Params,
    verb: Verb,
    path: Vec<(String, String)>,
    notes: Arc<Notes>,
}

/// What handlers take.
pub(crate) type Ask = Arc<Asked>;

impl Asked {
    pub(crate) fn services(&self) -> &Services {
        &self.state.services
    }

    /// A part of the path by its name; empty when the path has no such part.
    pub(crate) fn part(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The id that a part of the path is.
    ///
    /// # Errors
    /// 400 when it is none.
    pub(crate) fn id<T>(&self, name: &str) -> Result<T, Refusal>
    where
        T: std::str::FromStr,
        Error: From<T::Err>,
    {
        Ok(self.part(name).parse::<T>().map_err(Error::from)?)
    }

    /// The key by which the caller marks this request, which asks for `input`.
    ///
    /// # Errors
    /// 422 for a key that is empty or too long.
    pub(crate) fn request_key(&self, input: &Json) -> Result<Option<RequestKey>, Refusal> {
        let Some(key) = self.headers.get(&IDEMPOTENCY_KEY) else {
            return Ok(None);
        };
        let key = String::from_utf8_lossy(key.as_bytes());
        self.named(&key, input).map(Some)
    }

    /// The key of a request that its caller marks elsewhere than in the header.
    ///
    /// # Errors
    /// As of [`Asked::request_key`].
    pub(crate) fn named(&self, key: &str, input: &Json) -> Result<RequestKey, Refusal> {
        let operation = format!("{} {}", self.verb.as_str(), self.uri.path());
        let key = RequestKey::new(key, &operation, input)?;
        Ok(self.notes.keep(key))
    }
}

impl Head {
    const fn new(verb: Verb, id: &'static str, path: &'static str) -> Self {
        Self {
            id,
            verb,
            path,
            mounts: &[Mount::Api],
            needs: Needs::Caller,
            tag: "",
            summary: "",
            params: &[],
            repeats: false,
            points: 1,
        }
    }

    pub(crate) const fn get(id: &'static str, path: &'static str) -> Self {
        Self::new(Verb::Get, id, path)
    }

    pub(crate) const fn post(id: &'static str, path: &'static str) -> Self {
        Self::new(Verb::Post, id, path)
    }

    pub(crate) const fn delete(id: &'static str, path: &'static str) -> Self {
        Self::new(Verb::Delete, id, path)
    }

    pub(crate) const fn at(self, mounts: &'static [Mount]) -> Self {
        Self { mounts, ..self }
    }

    pub(crate) const fn needs(self, scope: Scope) -> Self {
        let needs = Needs::Scope(scope);
        Self { needs, ..self }
    }

    /// In which group it is shown, and in one sentence what it does.
    pub(crate) const fn told(self, tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            ..self
        }
    }

    pub(crate) const fn params(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    pub(crate) const fn repeats(self) -> Self {
        let repeats = true;
        Self { repeats, ..self }
    }

    /// What a request costs, where that is more than one point.
    pub(crate) const fn costs(self, points: u64) -> Self {
        Self { points, ..self }
    }

    /// The operation that `handler` carries out without a caller. `R` says what it answers.
    pub(crate) fn open<R: Reply, A>(self, handler: fn(AppState) -> A) -> Operation
    where
        A: Future<Output = Response> + Send + 'static,
    {
        let needs = Needs::Nothing;
        Operation {
            head: Self { needs, ..self },
            body: None,
            answer: AnswerKind::of::<R>(),
            handler: Handler::Open(Box::new(move |state| Box::pin(handler(state)))),
        }
    }

    /// The operation that `handler` carries out, which takes no body.
    pub(crate) fn read<R, A>(self, handler: fn(Ask) -> A) -> Operation
    where
        R: Reply,
        A: Future<Output = Result<R, Refusal>> + Send + 'static,
    {
        let answering = move |ask: Ask| -> Answering {
            let answer = handler(ask.clone());
            Box::pin(async move { Ok(answer.await?.answer(&ask)) })
        };
        Operation {
            head: self,
            body: None,
            answer: AnswerKind::of::<R>(),
            handler: Handler::Read(Box::new(answering)),
        }
    }

    /// The operation that `handler` carries out with a body.
    pub(crate) fn write<I, R, A>(self, handler: fn(Ask, I) -> A) -> Operation
    where
        I: Input,
        R: Reply,
        A: Future<Output = Result<R, Refusal>> + Send + 'static,
    {
        let answering = move |ask: Ask, body: Held| -> Answering {
            let input = I::read(&ask, &body);
            // Its room is kept for what was made of it.
            let room = body.into_room();
            Box::pin(async move {
                let reply = handler(ask.clone(), input?).await?;
                drop(room);
                Ok(reply.answer(&ask))
            })
        };
        Operation {
            head: self,
            body: Some(BodyKind {
                schema: I::schema,
                is_optional: I::is_optional,
                is_large: I::IS_LARGE,
            }),
            answer: AnswerKind::of::<R>(),
            handler: Handler::Write(Box::new(answering)),
        }
    }
}

impl Operation {
    async fn answer(
        &self,
        mount: Mount,
        state: AppState,
        path: Result<RawPathParams, RawPathParamsRejection>,
        request: Request,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let id = RequestId::of(&parts.extensions);
        let notes = Arc::<Notes>::default();
        let carried_out = self.carry_out(mount, state, path, parts, body, notes.clone());
        let mut response = match carried_out.await {
            Ok(response) => response,
            Err(refusal) => Problem::refused(&refusal, &id)
                .shaped(mount.shape())
                .into_response(),
        };
        notes.tell(&mut response);
        response
    }

    /// Takes what the request costs from the budget that its caller has for GraphQL as well: what the operation costs, a point for each
    /// entry that the page may have, and [`SEARCHING`]. Sending events is part of no budget.
    async fn charge(&self, asked: &Asked) -> Result<(), Refusal> {
        if self.body.is_some_and(|body| body.is_large) {
            return Ok(());
        }
        let is_list = self.head.params.iter().any(|param| param.name == "limit");
        let entries = if is_list { asked.params.limit() } else { 0 };
        let searching = asked.params.get("search").map_or(0, |_| SEARCHING);
        let points = self.head.points + u64::from(entries) + searching;
        let budgets = asked.services().budgets();
        let cost = budgets.charge(&asked.actor, points).await;
        let cost = asked.notes.charged(cost);
        match cost.bucket.and_then(|bucket| bucket.wait) {
            Some(_) => Err(Refusal::Request {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "rate_limited",
                detail: format!(
                    "this request costs {points} points, more than this caller has left; ask for less, or wait"
                ),
            }),
            None => Ok(()),
        }
    }

    async fn carry_out(
        &self,
        mount: Mount,
        state: AppState,
        path: Result<RawPathParams, RawPathParamsRejection>,
        parts: request::Parts,
        body: axum::body::Body,
        notes: Arc<Notes>,
    ) -> Result<Response, Refusal> {
        if let Handler::Open(handler) = &self.handler {
            return Ok(handler(state).await);
        }
        let actor = auth::actor(&state, &parts.headers).await?;
        if let Needs::Scope(scope) = self.head.needs {
            actor.require(scope).map_err(Error::from)?;
        }
        let path = path
            .map_err(|_| Refusal::bad_request("invalid_path", "a part of the path is not UTF-8"))?;
        let path = path.iter();
        let asked = Arc::new(Asked {
            path: path
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            params: Params::read(&parts.uri, self.head.params, mount.is_strict())?,
            verb: self.head.verb,
            uri: parts.uri,
            headers: parts.headers,
            actor,
            state,
            notes,
        });
        self.charge(&asked).await?;
        match &self.handler {
            Handler::Open(handler) => Ok(handler(asked.state.clone()).await),
            Handler::Read(handler) => handler(asked).await,
            Handler::Write(handler) => {
                let settings = &asked.state.settings;
                let limit = match self.body.is_some_and(|body| body.is_large) {
                    true => settings.ingest_body_bytes,
                    false => settings.request_body_bytes,
                };
                let read = asked.state.bodies.read(&asked.headers, body, limit);
                let body = read.await?;
                if mount.is_strict() && !body.is_empty() && !is_json(&asked.headers) {
                    return Err(Refusal::Request {
                        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        code: "unsupported_media_type",
                        detail: "the body of this request must be application/json".to_owned(),
                    });
                }
                handler(asked, body).await
            }
        }
    }
}

/// Whether a body says that it is JSON, or says nothing.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(declared) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let declared = declared.to_str().unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The routes of these operations under all their mounts.
pub(crate) fn routes(operations: Vec<Operation>) -> Router<AppState> {
    let mut router = Router::new();
    for operation in operations.into_iter().map(Arc::new) {
        for mount in operation.head.mounts {
            for prefix in mount.prefixes() {
                let (mount, operation) = (*mount, operation.clone());
                let path = format!("{prefix}{}", operation.head.path);
                let filter = operation.head.verb.filter();
                let answer = move |State(state): State<AppState>,
                                   path: Result<RawPathParams, RawPathParamsRejection>,
                                   request: Request| {
                    let operation = operation.clone();
                    async move { operation.answer(mount, state, path, request).await }
                };
                router = router.route(&path, on(filter, answer));
            }
        }
    }
    router
}
