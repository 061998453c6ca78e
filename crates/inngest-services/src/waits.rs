//! What runs wait for, and what they have waited for.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    ids::{EnvId, FunctionId, RunId},
    page::{Count, Page, PageRequest},
    run::{StepKind, StepWait, WaitStatus},
};
use inngest_state::{Store, WaitSource};

use crate::{
    Error,
    lists::bounded,
    runs::Runs,
    search::{Found, SEARCH_ROWS, Scan},
    sift::{self, Rows},
};

/// Which waits to list; rules that would cancel a run are none. All parts must hold; a part that is none says nothing, and an empty list matches
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WaitFilter {
    /// In any of these states; only open ones when it is none.
    pub statuses: Option<Vec<WaitStatus>>,
    /// Of steps of any of these kinds.
    pub kinds: Option<Vec<StepKind>>,
    /// For events of this name.
    pub event_name: Option<String>,
    /// For this signal.
    pub signal: Option<String>,
    /// Of runs of any of these functions.
    pub functions: Option<Vec<FunctionId>>,
}

impl WaitFilter {
    fn longest_list(&self) -> usize {
        let lengths = [
            self.statuses.as_ref().map_or(0, Vec::len),
            self.kinds.as_ref().map_or(0, Vec::len),
            self.functions.as_ref().map_or(0, Vec::len),
        ];
        lengths.into_iter().max().unwrap_or(0)
    }

    fn wants(&self, status: WaitStatus) -> bool {
        match &self.statuses {
            Some(list) => list.contains(&status),
            None => status == WaitStatus::Open,
        }
    }

    /// The shortest list that has all that match.
    fn source(&self) -> WaitSource {
        let ended = WaitStatus::ALL.into_iter();
        let mut ended = ended.filter(|status| *status != WaitStatus::Open);
        match &self.signal {
            _ if ended.any(|status| self.wants(status)) => WaitSource::All,
            Some(signal) => WaitSource::OfSignal(signal.clone()),
            None => WaitSource::Open,
        }
    }

    /// Whether its list has to be gone through, because not all that it has match.
    fn needs_a_look(&self) -> bool {
        let of_source = match self.source() {
            WaitSource::Open => WaitStatus::ALL[..1].to_vec(),
            WaitSource::OfSignal(_) | WaitSource::All => WaitStatus::ALL.to_vec(),
        };
        !of_source.into_iter().all(|status| self.wants(status))
            || self.kinds.is_some()
            || self.event_name.is_some()
            || self.signal.is_some()
            || self.functions.is_some()
    }

    fn keeps(&self, Row { wait, function }: &Row) -> bool {
        let kinds = self.kinds.as_ref();
        let functions = self.functions.as_ref();
        let (event, signal) = (self.event_name.as_deref(), self.signal.as_deref());
        self.wants(wait.status)
            && kinds.is_none_or(|list| list.contains(&wait.kind))
            && event.is_none_or(|name| wait.event_name() == Some(name))
            && signal.is_none_or(|name| wait.signal() == Some(name))
            && functions.is_none_or(|list| function.is_some_and(|it| list.contains(&it)))
    }
}

/// A wait, and the function of its run where that is asked for.
struct Row {
    wait: StepWait,
    function: Option<FunctionId>,
}

struct WaitRows<'a> {
    store: &'a Store,
    env: EnvId,
    source: WaitSource,
    with_functions: bool,
}

impl WaitRows<'_> {
    async fn waits(&self, request: &PageRequest) -> Result<Page<StepWait>, Error> {
        let page = self.store.list_waits(self.env, &self.source, request);
        Ok(page.await?)
    }
}

impl Rows for WaitRows<'_> {
    type Row = Row;

    async fn read(&self, request: &PageRequest) -> Result<Page<Row>, Error> {
        let page = self.waits(request).await?;
        let mut functions = HashMap::new();
        if self.with_functions {
            let mut runs: Vec<RunId> = page.items.iter().map(|wait| wait.run).collect();
            runs.dedup();
            functions = self.store.functions_of_runs(self.env, &runs).await?;
        }
        Ok(page.map(|wait| Row {
            function: functions.get(&wait.run).copied(),
            wait,
        }))
    }
}

impl Runs<'_> {
    /// One page of what the runs of the environment wait for or have waited for, that of the newest run first. What no index knows of the filter is
    /// looked for within a budget.
    ///
    /// # Errors
    /// `invalid_cursor`, and `filter_too_long` for more than 500 values in a part of the filter.
    pub async fn list_waits(
        &self,
        actor: &Actor,
        filter: &WaitFilter,
        request: &PageRequest,
    ) -> Result<Found<StepWait>, Error> {
        let rows = self.waits_for(actor, filter)?;
        if !filter.needs_a_look() {
            let page = rows.waits(request).await?;
            let scan = Scan::default();
            return Ok(Found { page, scan });
        }
        let keep = |row: &Row| filter.keeps(row);
        let Found { page, scan } = sift::page(&rows, request, keep, SEARCH_ROWS).await?;
        let page = page.map(|row| row.wait);
        Ok(Found { page, scan })
    }

    /// How many waits a list has, as far as the budget tells.
    ///
    /// # Errors
    /// `filter_too_long`, as for the list.
    pub async fn count_waits(&self, actor: &Actor, filter: &WaitFilter) -> Result<Count, Error> {
        let rows = self.waits_for(actor, filter)?;
        match filter.needs_a_look() {
            true => sift::count(&rows, |row| filter.keeps(row), SEARCH_ROWS).await,
            false => Ok(rows.store.count_waits(rows.env, &rows.source).await?),
        }
    }

    fn waits_for(&self, actor: &Actor, filter: &WaitFilter) -> Result<WaitRows<'_>, Error> {
        actor.require(Scope::RunsRead)?;
        bounded(filter.longest_list())?;
        Ok(WaitRows {
            store: &self.0.store,
            env: actor.env,
            source: filter.source(),
            with_functions: filter.functions.is_some(),
        })
    }

    /// What a run waits for now, oldest first; rules that would cancel it are not among them.
    pub async fn waits_of(&self, actor: &Actor, id: RunId) -> Result<Vec<StepWait>, Error> {
        let mut found = self.waits_of_many(actor, &[id]).await?;
        Ok(found.remove(&id).unwrap_or_default())
    }

    /// [`Runs::waits_of`] for several runs; every run has an entry.
    pub async fn waits_of_many(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Vec<StepWait>>, Error> {
        actor.require(Scope::RunsRead)?;
        let mut by_run: HashMap<RunId, Vec<StepWait>> =
            ids.iter().map(|id| (*id, Vec::new())).collect();
        for wait in self.0.store.waits_of_runs(actor.env, ids).await? {
            by_run.entry(wait.run).or_default().push(wait);
        }
        for waits in by_run.values_mut() {
            waits.sort_by_key(|wait| (wait.since, wait.step.clone()));
        }
        Ok(by_run)
    }
}
