//! Tells errors of a request apart from errors of its fields, and gives the former their codes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_graphql::{
    ErrorExtensionValues, ServerError, ServerResult, ValidationResult, Variables,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextValidation},
    parser::types::ExecutableDocument,
};

/// Whether an operation passed validation. Put into the data of each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage(Arc<AtomicBool>);

impl Stage {
    /// Whether fields were executed, so that errors belong to fields.
    pub(crate) fn is_executed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
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
                .map(|error| coded(error, validation_code))
                .collect::<Vec<_>>()
        })?;
        if let Some(stage) = ctx.data_opt::<Stage>() {
            stage.0.store(true, Ordering::Relaxed);
        }
        Ok(validated)
    }
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

fn validation_code(message: &str) -> &'static str {
    match message {
        "Query is too complex." => "OPERATION_TOO_COMPLEX",
        "Query is nested too deep." => "OPERATION_TOO_DEEP",
        _ => "GRAPHQL_VALIDATION_FAILED",
    }
}
