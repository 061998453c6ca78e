//! Operations on many runs.

use std::collections::HashMap;

use async_graphql::{Context, Enum, Error, ID, InputObject, Interface, Object, SimpleObject};

use inngest_core::{
    bulk::{self, BulkKind, BulkOperation, BulkStatus},
    ids::{BulkId, FunctionId},
    page::PageRequest,
    run::RunStatus,
};
use inngest_services::{BulkFilter, BulkRequest, Preview};

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, Length, Page, RunPage, TotalCount},
    error::failed,
    ids::{self, CancellationId, GlobalId, ReplayId},
    listed::{BulkList, Total},
    loaders::{load, load_many},
    objects::{
        filter::TimeRange,
        function::FunctionObject,
        pause::ActorObject,
        run::RunObject,
        run_parts::{RunStatusCounts, RunStatusEnum},
    },
    parents::{ReplayRunCountOf, ReplayRunsOf},
    related::answer,
    scalars::{CelExpression, DateTime, Long},
};

/// Background work over many runs.
#[derive(Interface)]
#[graphql(
    name = "BulkOperation",
    field(name = "id", ty = "ID", desc = "Global id."),
    field(name = "name", ty = "Option<String>", desc = "Label."),
    field(name = "status", ty = "BulkOperationStatus", desc = "Present state."),
    field(name = "progress", ty = "BulkProgress", desc = "How far it is."),
    field(name = "created_by", ty = "ActorObject", desc = "Who started it."),
    field(name = "created_at", ty = "DateTime", desc = "When it was started."),
    field(name = "ended_at", ty = "Option<DateTime>", desc = "When it ended.")
)]
pub(crate) enum BulkOperationObject {
    Cancellation(CancellationObject),
    Replay(ReplayObject),
}

impl BulkOperationObject {
    pub(crate) fn of(operation: BulkOperation) -> Self {
        match operation.kind {
            BulkKind::Cancellation => Self::Cancellation(CancellationObject(operation)),
            BulkKind::Replay => Self::Replay(ReplayObject(operation)),
        }
    }
}

/// State of a bulk operation.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "BulkStatus")]
pub(crate) enum BulkOperationStatus {
    /// Not yet started.
    Pending,
    /// Working, or in force.
    Running,
    /// Done.
    Completed,
    /// Ended by a person.
    Stopped,
    /// Ended by an error.
    Failed,
}

/// How far a bulk operation is.
#[derive(SimpleObject)]
pub(crate) struct BulkProgress {
    /// Runs to touch, null while counting. With a search, those among which it looks, until it has ended.
    total: Option<Long>,
    /// Runs looked at that match.
    processed: Long,
    /// Runs cancelled or started.
    succeeded: Long,
    /// Runs that needed nothing.
    skipped: Long,
    /// Runs that could not be touched.
    failed: Long,
}

impl From<bulk::BulkProgress> for BulkProgress {
    fn from(progress: bulk::BulkProgress) -> Self {
        Self {
            total: progress.total.map(Long),
            processed: Long(progress.processed()),
            succeeded: Long(progress.succeeded),
            skipped: Long(progress.skipped),
            failed: Long(progress.failed),
        }
    }
}

/// What a bulk operation matches.
pub(crate) struct BulkSelection(bulk::Selection);

/// What a bulk operation matches.
#[Object]
impl BulkSelection {
    /// Functions.
    #[graphql(complexity = "10 + 5 * child_complexity")]
    async fn functions(&self, ctx: &Context<'_>) -> Result<Vec<FunctionObject>, Error> {
        let ids = self.0.functions.clone();
        let mut found = load_many(ctx, ids.clone()).await?;
        let known = ids.iter().filter_map(|id| found.remove(id));
        Ok(known.map(FunctionObject).collect())
    }

    /// Start of the queueing window.
    async fn queued_from(&self) -> DateTime {
        DateTime(self.0.from)
    }

    /// End of the queueing window.
    async fn queued_until(&self) -> DateTime {
        DateTime(self.0.until)
    }

    /// States.
    async fn statuses(&self) -> Vec<RunStatusEnum> {
        self.0.statuses.iter().copied().map(Into::into).collect()
    }

    /// Condition.
    async fn search(&self) -> Option<CelExpression> {
        self.0.search.clone().map(CelExpression)
    }
}

/// The one function that an operation is about; none when there are several.
async fn only_function(
    ctx: &Context<'_>,
    functions: &[FunctionId],
) -> Option<Result<FunctionObject, Error>> {
    let [only] = functions else { return None };
    match load_many(ctx, vec![*only]).await {
        Ok(mut found) => found.remove(only).map(|it| Ok(FunctionObject(it))),
        Err(error) => Some(Err(error)),
    }
}

/// A bulk cancellation.
pub(crate) struct CancellationObject(pub(crate) BulkOperation);

/// Cancels all runs that match; stays in force for runs that are queued until the end of its window.
#[Object(name = "Cancellation")]
impl CancellationObject {
    /// Global id, prefix cxl.
    pub(crate) async fn id(&self) -> ID {
        CancellationId(self.0.id).global()
    }

    /// Label.
    async fn name(&self) -> Option<String> {
        self.0.name.clone()
    }

    /// Target, null for several functions.
    async fn function(&self, ctx: &Context<'_>) -> Option<Result<FunctionObject, Error>> {
        only_function(ctx, &self.0.selection.functions).await
    }

    /// What it matches.
    async fn selection(&self) -> BulkSelection {
        BulkSelection(self.0.selection.clone())
    }

    /// Present state.
    async fn status(&self) -> BulkOperationStatus {
        self.0.status.into()
    }

    /// How far it is.
    async fn progress(&self) -> BulkProgress {
        self.0.progress.into()
    }

    /// Who started it.
    async fn created_by(&self) -> ActorObject {
        ActorObject::of(&self.0.by)
    }

    /// When it was started.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}

/// The bulk cancellation with this id, null when it is missing or not the caller's to see.
pub(crate) async fn find_cancellation(
    ctx: &Context<'_>,
    id: BulkId,
) -> Option<Result<CancellationObject, Error>> {
    let found = load(ctx, CancellationId(id)).await.transpose()?;
    Some(found.map(CancellationObject))
}

/// A replay.
pub(crate) struct ReplayObject(pub(crate) BulkOperation);

/// Starts new runs for past runs or skipped triggers.
#[Object(name = "Replay")]
impl ReplayObject {
    /// Global id, prefix rpl.
    pub(crate) async fn id(&self) -> ID {
        ReplayId(self.0.id).global()
    }

    /// Label.
    async fn name(&self) -> Option<String> {
        self.0.name.clone()
    }

    /// Target, null for several functions.
    async fn function(&self, ctx: &Context<'_>) -> Option<Result<FunctionObject, Error>> {
        only_function(ctx, &self.0.selection.functions).await
    }

    /// What it matches.
    async fn selection(&self) -> BulkSelection {
        BulkSelection(self.0.selection.clone())
    }

    /// Present state.
    async fn status(&self) -> BulkOperationStatus {
        self.0.status.into()
    }

    /// How far it is.
    async fn progress(&self) -> BulkProgress {
        self.0.progress.into()
    }

    /// Pace of starting runs.
    async fn rate_per_second(&self) -> Option<i32> {
        self.0.rate.and_then(|rate| i32::try_from(rate).ok())
    }

    /// Runs it started, newest first. Environment.runs has those that a filter with its id lets through.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let found = answer(ctx, ReplayRunsOf(self.0.id, request)).await?;
        let length = Length::ReplayRuns(ReplayRunCountOf(self.0.id));
        Ok(Page::of(found, RunPage::nested(length), RunObject))
    }

    /// Who started it.
    async fn created_by(&self) -> ActorObject {
        ActorObject::of(&self.0.by)
    }

    /// When it was started.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}

/// The replay with this id, null when it is missing or not the caller's to see.
pub(crate) async fn find_replay(
    ctx: &Context<'_>,
    id: BulkId,
) -> Option<Result<ReplayObject, Error>> {
    let found = load(ctx, ReplayId(id)).await.transpose()?;
    Some(found.map(ReplayObject))
}

/// Filter for bulk operations.
#[derive(InputObject, Default)]
pub(crate) struct BulkOperationFilter {
    /// Only these states.
    statuses: Option<Vec<BulkOperationStatus>>,
    /// Only of these functions.
    function_ids: Option<Vec<ID>>,
    /// Only created in this interval.
    time: Option<TimeRange>,
}

impl BulkOperationFilter {
    fn into_service(self, kind: BulkKind) -> Result<BulkFilter, Error> {
        let functions = self.function_ids.as_deref();
        let statuses = self.statuses;
        Ok(BulkFilter {
            statuses: statuses.map(|list| list.into_iter().map(Into::into).collect()),
            functions: functions.map(ids::parse_all::<FunctionId>).transpose()?,
            from: self.time.as_ref().map(|time| time.from.0),
            until: self.time.and_then(|time| time.until).map(|until| until.0),
            ..BulkFilter::of(kind)
        })
    }

    /// A page of the bulk cancellations of the caller's environment.
    pub(crate) async fn cancellations(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<CancellationObject, Counted>, Error> {
        let filter = self.into_service(BulkKind::Cancellation)?;
        let found = answer(ctx, BulkList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Bulk(filter)));
        Ok(Page::of(found, extra, CancellationObject))
    }
}

impl BulkOperationFilter {
    /// A page of the replays of the caller's environment.
    pub(crate) async fn replays(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<ReplayObject, Counted>, Error> {
        let filter = self.into_service(BulkKind::Replay)?;
        let found = answer(ctx, BulkList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Bulk(filter)));
        Ok(Page::of(found, extra, ReplayObject))
    }
}

/// What a bulk operation shall match.
#[derive(InputObject)]
pub(crate) struct BulkRunFilter {
    /// Functions, at least one and at most 100.
    function_ids: Vec<ID>,
    /// Queueing window; that of a cancellation may end in the time to come.
    queued: TimeRange,
    /// States; for cancellations QUEUED and RUNNING, for replays FAILED, for previews all when omitted.
    statuses: Option<Vec<RunStatusEnum>>,
    /// Condition over event, output, error and run.
    search: Option<CelExpression>,
}

impl BulkRunFilter {
    pub(crate) fn into_service(self, name: Option<String>) -> Result<BulkRequest, Error> {
        let statuses = self.statuses;
        Ok(BulkRequest {
            functions: ids::parse_all::<FunctionId>(&self.function_ids)?,
            from: self.queued.from.0,
            until: self.queued.until.map(|until| until.0),
            statuses: statuses.map(|list| list.into_iter().map(RunStatus::from).collect()),
            search: self.search.map(|CelExpression(text)| text),
            name,
            rate: None,
        })
    }

    /// What an operation with this filter would touch.
    pub(crate) async fn preview(self, ctx: &Context<'_>) -> Result<BulkPreview, Error> {
        let request = self.into_service(None)?;
        let asking = asking(ctx);
        let bulk = asking.services.bulk();
        let preview = bulk.preview(&asking.actor, &request).await;
        let preview = preview.map_err(|error| failed(ctx, &error))?;
        Ok(preview.into())
    }
}

/// What a bulk operation would touch.
#[derive(SimpleObject)]
pub(crate) struct BulkPreview {
    /// Number of runs.
    total: TotalCount,
    /// Those runs by state.
    counts: RunStatusCounts,
    /// Up to ten of them, the newest.
    sample: Vec<RunObject>,
}

impl From<Preview> for BulkPreview {
    fn from(preview: Preview) -> Self {
        let mut counts: HashMap<RunStatus, u64> = HashMap::new();
        for status in preview.statuses {
            *counts.entry(status).or_default() += 1;
        }
        Self {
            total: preview.total.into(),
            counts: RunStatusCounts::of(&counts),
            sample: preview.sample.into_iter().map(RunObject).collect(),
        }
    }
}

/// Message of bulkOperationUpdated.
#[derive(SimpleObject)]
pub(crate) struct BulkOperationUpdate {
    /// When it was measured.
    pub(crate) at: DateTime,
    /// The bulk operation.
    pub(crate) operation: BulkOperationObject,
}
