//! Operations on many runs as an API shows them in one call: asked for with the names of functions, and told with their names.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    access::{Actor, Scope},
    bulk::{BulkKind, BulkOperation},
    ids::{BulkId, FunctionId},
    limits,
    page::{Page, PageRequest},
};
use inngest_state::{BulkFilter, FunctionHead};

use super::{Bulk, BulkRequest, Preview, statuses_of, wrong_number_of_functions};
use crate::{
    Error, RequestKey,
    engine::Engine,
    views::{function_ids, no_function},
};

/// Functions as a caller names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionNames {
    /// The app by its id or name, where the functions are named within it.
    pub app: Option<String>,
    /// By id or slug; within an app by any of their names.
    pub functions: Vec<String>,
}

/// An operation with what the ids of its functions name.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkView {
    /// The operation.
    pub operation: BulkOperation,
    /// Its functions that are stored, in the order of its selection.
    pub functions: Vec<FunctionHead>,
}

impl Bulk<'_> {
    /// [`Bulk::cancel`] or [`Bulk::replay`], with functions by their names in place of those of the request.
    ///
    /// # Errors
    /// Those of these two; `NotFound` for a name that nothing has.
    pub async fn begin_named(
        &self,
        actor: &Actor,
        kind: BulkKind,
        names: &FunctionNames,
        request: BulkRequest,
        key: Option<RequestKey>,
    ) -> Result<BulkView, Error> {
        actor.require(Scope::RunsWrite)?;
        let functions = self.0.named_functions(actor, names).await?;
        let request = BulkRequest {
            functions,
            ..request
        };
        let operation = match kind {
            BulkKind::Cancellation => self.cancel(actor, request, key).await?,
            BulkKind::Replay => self.replay(actor, request, key).await?,
        };
        self.show(actor, operation).await
    }

    /// What [`Bulk::begin_named`] with this request would touch now.
    ///
    /// # Errors
    /// Those of [`Bulk::begin_named`], but for the number of operations.
    pub async fn preview_named(
        &self,
        actor: &Actor,
        kind: BulkKind,
        names: &FunctionNames,
        request: BulkRequest,
    ) -> Result<Preview, Error> {
        actor.require(Scope::RunsRead)?;
        let functions = self.0.named_functions(actor, names).await?;
        let statuses = statuses_of(kind, request.statuses.as_deref())?;
        let request = BulkRequest {
            functions,
            statuses: Some(statuses),
            ..request
        };
        self.preview(actor, &request).await
    }

    /// [`Bulk::stop`], with names.
    ///
    /// # Errors
    /// Those of [`Bulk::stop`].
    pub async fn stop_view(
        &self,
        actor: &Actor,
        kind: BulkKind,
        id: BulkId,
    ) -> Result<BulkView, Error> {
        let operation = self.stop(actor, kind, id).await?;
        self.show(actor, operation).await
    }

    /// [`Bulk::get`], with names.
    ///
    /// # Errors
    /// Those of [`Bulk::get`].
    pub async fn view(&self, actor: &Actor, kind: BulkKind, id: BulkId) -> Result<BulkView, Error> {
        let operation = self.get(actor, kind, id).await?;
        self.show(actor, operation).await
    }

    /// [`Bulk::list`], with names.
    ///
    /// # Errors
    /// Those of [`Bulk::list`].
    pub async fn views(
        &self,
        actor: &Actor,
        filter: &BulkFilter,
        request: &PageRequest,
    ) -> Result<Page<BulkView>, Error> {
        let page = self.list(actor, filter, request).await?;
        let heads = self.heads(actor, &page.items).await?;
        page.try_map(|operation| Ok(view(operation, &heads)))
    }

    async fn show(&self, actor: &Actor, operation: BulkOperation) -> Result<BulkView, Error> {
        let heads = self.heads(actor, std::slice::from_ref(&operation)).await?;
        Ok(view(operation, &heads))
    }

    /// What the functions of these operations are called.
    async fn heads(
        &self,
        actor: &Actor,
        operations: &[BulkOperation],
    ) -> Result<HashMap<FunctionId, FunctionHead>, Error> {
        let ids: HashSet<FunctionId> = operations
            .iter()
            .flat_map(|operation| operation.selection.functions.iter().copied())
            .collect();
        let ids: Vec<FunctionId> = ids.into_iter().collect();
        let heads = self.0.store.function_heads(actor.env, &ids).await?;
        Ok(heads.into_iter().map(|head| (head.id, head)).collect())
    }
}

fn view(operation: BulkOperation, heads: &HashMap<FunctionId, FunctionHead>) -> BulkView {
    let functions = operation.selection.functions.iter();
    BulkView {
        functions: functions.filter_map(|id| heads.get(id).cloned()).collect(),
        operation,
    }
}

impl Engine {
    /// The ids of functions by their names. Asks the database once or twice, however many there are.
    async fn named_functions(
        &self,
        actor: &Actor,
        names: &FunctionNames,
    ) -> Result<Vec<FunctionId>, Error> {
        let FunctionNames { app, functions } = names;
        if functions.is_empty() || functions.len() > limits::BULK_FUNCTIONS {
            return Err(wrong_number_of_functions(functions.len()));
        }
        match app {
            Some(app) => self.functions_within(actor, app, functions).await,
            None => self.functions_anywhere(actor, functions).await,
        }
    }

    async fn functions_within(
        &self,
        actor: &Actor,
        app: &str,
        names: &[String],
    ) -> Result<Vec<FunctionId>, Error> {
        let app = self.find_app(actor, app).await?;
        let candidates = |name: &String| function_ids(app.id, &app.name, name);
        let all: Vec<FunctionId> = names.iter().flat_map(candidates).collect();
        let found = self.store.function_heads(actor.env, &all).await?;
        let own: HashSet<FunctionId> = found
            .into_iter()
            .filter(|function| function.app == app.id)
            .map(|function| function.id)
            .collect();
        let id = |name: &String| {
            let found = candidates(name).into_iter().find(|id| own.contains(id));
            found.ok_or_else(|| no_function(name))
        };
        names.iter().map(id).collect()
    }

    async fn functions_anywhere(
        &self,
        actor: &Actor,
        names: &[String],
    ) -> Result<Vec<FunctionId>, Error> {
        let is_slug = |name: &&String| name.parse::<FunctionId>().is_err();
        let slugs: Vec<String> = names.iter().filter(is_slug).cloned().collect();
        let mut ids: HashMap<String, FunctionId> = HashMap::new();
        if !slugs.is_empty() {
            let found = self.store.find_functions_by_slugs(actor.env, &slugs);
            ids.extend(found.await?.into_iter().map(|it| (it.slug, it.id)));
        }
        // Whether an id is one of the environment's is looked at by whoever begins the operation.
        let id = |name: &String| match name.parse::<FunctionId>() {
            Ok(id) => Ok(id),
            Err(_) => ids.get(name).copied().ok_or_else(|| no_function(name)),
        };
        names.iter().map(id).collect()
    }
}
