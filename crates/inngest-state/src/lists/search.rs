//! Candidates of a search, in slices of the list: what a statement reads is bounded by the slice, however few of its rows can match.
//!
//! Documents are stored as canonical JSON. So an object whose member `id` is 7 holds the bytes `"id":7`, and a document without them does not
//! match `data.id == 7`. The bytes may stand elsewhere in it: what is found has to be judged by the search itself.

use inngest_core::{
    event::Event,
    ids::EnvId,
    json::Json,
    page::{Direction, Page, PageRequest},
    run::{Run, RunStatus},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Value,
    sea_query::{Expr, ExprTrait, Func, IntoColumnRef},
};

use super::{EventFilter, RunFilter, events, runs, source::Plan, weight};
use crate::{
    Error, Store,
    entity::{event, run},
    rows::event_of,
};

/// Bytes of canonical JSON: a document has to contain any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces(Vec<Vec<u8>>);

impl Traces {
    /// What a document contains in which a member of this name has any of these values. Whole numbers, texts, booleans and null only.
    pub fn of(name: &str, values: &[serde_json::Value]) -> Self {
        let name = Json::string(name);
        let traces = values.iter().map(|value| {
            let value = Json::from_value(value);
            [name.as_bytes(), b":", value.as_bytes()].concat()
        });
        Self(traces.collect())
    }
}

/// What rows have to have besides matching the filter. All parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Runs: any of these states.
    pub statuses: Option<Vec<RunStatus>>,
    /// In the event; of runs that were started by several, nothing is asked.
    pub event: Vec<Traces>,
    /// In what the run ended with.
    pub output: Vec<Traces>,
}

/// One slice of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    /// Those of its rows that may match.
    pub page: Page<T>,
    /// How many rows it has.
    pub candidates: u64,
    /// The cursor of its last row in the direction of reading; none when it has no rows.
    pub end: Option<String>,
    /// The time in its last id.
    pub reached: Option<Timestamp>,
    /// Whether there may be rows beyond.
    pub goes_on: bool,
}

impl Store {
    /// The next `request.limit` runs of a list, of which those are read that may match.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or direction.
    pub async fn slice_runs(
        &self,
        env: EnvId,
        filter: &RunFilter,
        hints: &Hints,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Slice<Run>, Error> {
        let conn = self.reader();
        let backend = sea_orm::ConnectionTrait::get_database_backend(conn);
        let Plan { source, rest } = runs::plan(env, filter);
        let mut all = Condition::all()
            .add(run::Column::EnvId.eq(env.raw()))
            .add_option(rest);
        if let Some(list) = &hints.statuses {
            all = all.add(run::Column::Status.is_in(list.iter().map(|status| status.code())));
        }
        for traces in &hints.output {
            all = all.add(contains(
                backend,
                (run::Entity, run::Column::Output),
                traces,
            ));
        }
        if !hints.event.is_empty() {
            let of_event = hints.event.iter().fold(
                Condition::all().add(
                    Expr::col((event::Entity, event::Column::Id))
                        .equals((run::Entity, run::Column::EventId)),
                ),
                |all, traces| {
                    all.add(contains(
                        backend,
                        (event::Entity, event::Column::Body),
                        traces,
                    ))
                },
            );
            let found = event::Entity::find()
                .select_only()
                .expr(Expr::val(1))
                .filter(of_event)
                .into_query();
            let any = Condition::any()
                .add(run::Column::MoreEvents.is_not_null())
                .add(Expr::exists(found));
            all = all.add(any);
        }
        let slice = runs::keyset(direction)
            .slice(conn, "runs", (source, &weight::RUNS), all, request)
            .await?;
        slice.try_map(Run::try_from)
    }

    /// The next `request.limit` events of a list, of which those are read that may match.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or direction.
    pub async fn slice_events(
        &self,
        env: EnvId,
        filter: &EventFilter,
        hints: &Hints,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Slice<Event>, Error> {
        let conn = self.reader();
        let backend = sea_orm::ConnectionTrait::get_database_backend(conn);
        let Plan { source, rest } = events::plan(env, filter);
        let own = Condition::all()
            .add(event::Column::EnvId.eq(env.raw()))
            .add_option(rest);
        let all = hints.event.iter().fold(own, |all, traces| {
            all.add(contains(
                backend,
                (event::Entity, event::Column::Body),
                traces,
            ))
        });
        let slice = events::keyset(direction)
            .slice(conn, "events", (source, &weight::EVENTS), all, request)
            .await?;
        slice.try_map(|row| Ok(event_of(row)))
    }
}

impl<T> Slice<T> {
    fn try_map<U>(self, change: impl FnMut(T) -> Result<U, Error>) -> Result<Slice<U>, Error> {
        Ok(Slice {
            page: self.page.try_map(change)?,
            candidates: self.candidates,
            end: self.end,
            reached: self.reached,
            goes_on: self.goes_on,
        })
    }
}

fn contains(backend: DbBackend, column: impl IntoColumnRef, traces: &Traces) -> Condition {
    let column = Expr::col(column);
    let name = match backend {
        DbBackend::Postgres => "pg_catalog.position",
        _ => "instr",
    };
    traces.0.iter().fold(Condition::any(), |any, trace| {
        let trace = Expr::val(Value::from(trace.clone()));
        any.add(Expr::from(Func::cust(name).args([column.clone(), trace])).gt(0))
    })
}
