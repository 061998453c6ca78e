//! What happens to an operation between its text and its fields: errors of the request are told apart from errors of fields and get
//! their codes, and whoever asks pays for what was found to be valid.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    ErrorExtensionValues, ServerError, ServerResult, ValidationResult, Variables,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextValidation},
    parser::types::ExecutableDocument,
};

use inngest_services::Cost;

use crate::graphql::{asking::Asking, limits};

/// How far an operation has come and what it cost. Put into the data of each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_executed: AtomicBool,
    cost: Mutex<Option<Cost>>,
}

impl Stage {
    /// Whether fields were executed, so that errors belong to fields.
    pub(crate) fn is_executed(&self) -> bool {
        self.0.is_executed.load(Ordering::Relaxed)
    }

    /// What the operation cost, the first time that it is asked for: a subscription is paid for once.
    pub(crate) fn take_cost(&self) -> Option<Cost> {
        let mut cost = self.0.cost.lock().unwrap_or_else(PoisonError::into_inner);
        cost.take()
    }

    async fn charge(&self, asking: &Asking, complexity: usize) -> Result<(), ServerError> {
        let budgets = asking.services.budgets();
        let cost = budgets.charge(&asking.actor, complexity as u64).await;
        *self.0.cost.lock().unwrap_or_else(PoisonError::into_inner) = Some(cost);
        match cost.bucket.and_then(|bucket| bucket.wait) {
            Some(wait) => Err(out_of_points(cost.requested, wait)),
            None => Ok(()),
        }
    }
}

fn out_of_points(requested: u64, wait: Duration) -> ServerError {
    let message = format!(
        "this operation costs {requested} points, more than this caller has left; ask for less, or wait"
    );
    let mut error = coded(ServerError::new(message, None), |_| "RATE_LIMITED");
    let wait = u64::try_from(wait.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default)
        .set("retryAfterMs", wait);
    error
}

/// The extension that marks [`Stage`].
pub(crate) struct Stages;

impl ExtensionFactory for Stages {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Stages {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        next.run(ctx, query, variables)
            .await
            .map_err(|error| coded(error, limit_code))
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let validated = next.run(ctx).await.map_err(|errors| {
            errors
                .into_iter()
                .map(|error| coded(error, |_| "GRAPHQL_VALIDATION_FAILED"))
                .collect::<Vec<_>>()
        })?;
        bounded(&validated).map_err(|error| vec![error])?;
        if let Some(stage) = ctx.data_opt::<Stage>() {
            if let Some(asking) = ctx.data_opt::<Asking>() {
                let charged = stage.charge(asking, validated.complexity).await;
                charged.map_err(|error| vec![error])?;
            }
            stage.0.is_executed.store(true, Ordering::Relaxed);
        }
        Ok(validated)
    }
}

/// The limits of the library do not say by how much they are missed.
fn bounded(validated: &ValidationResult) -> Result<(), ServerError> {
    let ValidationResult {
        depth, complexity, ..
    } = *validated;
    if depth > limits::DEPTH {
        let message = format!(
            "this operation is nested {depth} levels deep, and the limit is {}; ask in two operations",
            limits::DEPTH
        );
        return Err(beyond("OPERATION_TOO_DEEP", message, limits::DEPTH, depth));
    }
    if complexity > limits::COMPLEXITY {
        let limit = limits::COMPLEXITY;
        let message = format!(
            "this operation costs {complexity} points, and the limit is {limit}; ask for smaller pages (first: …) or fewer fields"
        );
        return Err(beyond("OPERATION_TOO_COMPLEX", message, limit, complexity));
    }
    Ok(())
}

fn beyond(code: &str, message: String, limit: usize, actual: usize) -> ServerError {
    let mut error = ServerError::new(message, None);
    let extensions = error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default);
    extensions.set("code", code);
    extensions.set("limit", limit);
    extensions.set("actual", actual);
    error
}

fn coded(mut error: ServerError, code: fn(&str) -> &'static str) -> ServerError {
    let word = code(&error.message);
    error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default)
        .set("code", word);
    error
}

/// The library names its limits in words only.
fn limit_code(message: &str) -> &'static str {
    if message.contains("recursion depth") {
        "OPERATION_TOO_DEEP"
    } else {
        "OPERATION_TOO_LARGE"
    }
}
