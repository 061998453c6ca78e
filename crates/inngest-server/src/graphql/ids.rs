//! Global ids: `<prefix>_<native id>`. Arguments that name their type also take the bare native id, as people copy it from logs.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use async_graphql::{Error, ID};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use inngest_core::{
    ids::{AppId, BulkId, EnvId, EventId, FunctionId, InvalidId, OrgId, RunId, StepId, SyncId},
    run::trace::{SpanId, TraceId},
};

use crate::graphql::error::bad_input;

/// A native id with a prefix of its own.
pub(crate) trait GlobalId: Display + FromStr {
    const PREFIX: &'static str;

    fn global(&self) -> ID {
        ID(format!("{}_{self}", Self::PREFIX))
    }
}

impl GlobalId for EnvId {
    const PREFIX: &'static str = "env";
}
impl GlobalId for AppId {
    const PREFIX: &'static str = "app";
}
impl GlobalId for FunctionId {
    const PREFIX: &'static str = "fn";
}
impl GlobalId for EventId {
    const PREFIX: &'static str = "evt";
}
impl GlobalId for RunId {
    const PREFIX: &'static str = "run";
}
impl GlobalId for OrgId {
    const PREFIX: &'static str = "org";
}
impl GlobalId for SyncId {
    const PREFIX: &'static str = "sync";
}

/// The id of a bulk cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CancellationId(pub(crate) BulkId);

impl Display for CancellationId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CancellationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

impl GlobalId for CancellationId {
    const PREFIX: &'static str = "cxl";
}

/// The id of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplayId(pub(crate) BulkId);

impl Display for ReplayId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReplayId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

impl GlobalId for ReplayId {
    const PREFIX: &'static str = "rpl";
}

/// Reads an argument of a known type.
///
/// # Errors
/// `BAD_USER_INPUT` when it has another type's prefix or is no id at all.
pub(crate) fn parse<T: GlobalId>(id: &ID) -> Result<T, Error> {
    let native = match id.split_once('_') {
        Some((prefix, native)) if prefix == T::PREFIX => native,
        Some(_) => {
            return Err(bad_input(format!(
                "`{}` does not begin with `{}_`",
                cut(id),
                T::PREFIX
            )));
        }
        None => id.as_str(),
    };
    native
        .parse()
        .map_err(|_| bad_input(format!("`{}` is not an id of this kind", cut(id))))
}

pub(crate) fn parse_all<T: GlobalId>(ids: &[ID]) -> Result<Vec<T>, Error> {
    ids.iter().map(parse).collect()
}

/// The id of a step: its run and its hashed id.
pub(crate) fn step(run: RunId, step: &StepId) -> ID {
    ID(format!("step_{run}.{step}"))
}

/// The id of the wait that a step stands for.
pub(crate) fn wait(run: RunId, step: &StepId) -> ID {
    ID(format!("wait_{run}.{step}"))
}

/// The id of an attempt at a step.
pub(crate) fn attempt(run: RunId, step: &StepId, number: u32) -> ID {
    ID(format!("att_{run}.{step}.{number}"))
}

/// The id of a version of a function.
pub(crate) fn function_version(function: FunctionId, number: u32) -> ID {
    ID(format!("fnv_{function}.{number}"))
}

/// The id of the backlog of a function.
pub(crate) fn backlog(function: FunctionId) -> ID {
    ID(format!("blg_{function}"))
}

/// The id of an event name, which may hold anything.
pub(crate) fn event_type(env: EnvId, name: &str) -> ID {
    ID(format!("evty_{env}.{}", URL_SAFE_NO_PAD.encode(name)))
}

/// The id of a span.
pub(crate) fn span(trace: TraceId, span: SpanId) -> ID {
    ID(format!("span_{trace}.{span}"))
}

/// What a global id points at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Environment(EnvId),
    App(AppId),
    Function(FunctionId),
    Event(EventId),
    Run(RunId),
    Step(RunId, StepId),
    Attempt(RunId, StepId, u32),
    Span(RunId, SpanId),
    Wait(RunId, StepId),
    FunctionVersion(FunctionId, u32),
    EventType(EnvId, String),
    Organization(OrgId),
    Backlog(FunctionId),
    Cancellation(BulkId),
    Replay(BulkId),
    Sync(SyncId),
}

/// Reads a global id of any type; none when nothing can be found under it.
pub(crate) fn target(id: &ID) -> Option<Target> {
    let (prefix, native) = id.split_once('_')?;
    match prefix {
        EnvId::PREFIX => native.parse().ok().map(Target::Environment),
        AppId::PREFIX => native.parse().ok().map(Target::App),
        FunctionId::PREFIX => native.parse().ok().map(Target::Function),
        EventId::PREFIX => native.parse().ok().map(Target::Event),
        RunId::PREFIX => native.parse().ok().map(Target::Run),
        "step" => {
            let (run, step) = native.split_once('.')?;
            Some(Target::Step(run.parse().ok()?, StepId::parse(step).ok()?))
        }
        "wait" => {
            let (run, step) = native.split_once('.')?;
            Some(Target::Wait(run.parse().ok()?, StepId::parse(step).ok()?))
        }
        "att" => {
            let (step, number) = native.rsplit_once('.')?;
            let (run, step) = step.split_once('.')?;
            let step = StepId::parse(step).ok()?;
            Some(Target::Attempt(
                run.parse().ok()?,
                step,
                number.parse().ok()?,
            ))
        }
        "span" => {
            let (trace, span) = native.split_once('.')?;
            Some(Target::Span(
                TraceId::parse(trace)?.run(),
                SpanId::parse(span)?,
            ))
        }
        "fnv" => {
            let (function, number) = native.split_once('.')?;
            Some(Target::FunctionVersion(
                function.parse().ok()?,
                number.parse().ok()?,
            ))
        }
        "evty" => {
            let (env, name) = native.split_once('.')?;
            let name = URL_SAFE_NO_PAD.decode(name).ok()?;
            Some(Target::EventType(
                env.parse().ok()?,
                String::from_utf8(name).ok()?,
            ))
        }
        "blg" => native.parse().ok().map(Target::Backlog),
        OrgId::PREFIX => native.parse().ok().map(Target::Organization),
        CancellationId::PREFIX => native.parse().ok().map(Target::Cancellation),
        ReplayId::PREFIX => native.parse().ok().map(Target::Replay),
        SyncId::PREFIX => native.parse().ok().map(Target::Sync),
        _ => None,
    }
}

fn cut(id: &ID) -> String {
    id.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use inngest_core::ids::DEFAULT_ENV;

    use super::*;

    #[test]
    fn global_and_bare_ids_are_read_and_other_prefixes_are_not() {
        let run = RunId::from_raw(ulid::Ulid(7));
        assert_eq!(parse::<RunId>(&run.global()).unwrap(), run);
        assert_eq!(parse::<RunId>(&ID(run.to_string())).unwrap(), run);
        for bad in [
            ID(format!("evt_{run}")),
            ID("run_x".into()),
            ID(String::new()),
            DEFAULT_ENV.global(),
        ] {
            assert!(parse::<RunId>(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn any_global_id_names_its_target() {
        let (run, hash) = (
            RunId::from_raw(ulid::Ulid(7)),
            StepId::parse("abc").unwrap(),
        );
        assert_eq!(
            target(&attempt(run, &hash, 3)),
            Some(Target::Attempt(run, hash.clone(), 3))
        );
        assert_eq!(
            target(&wait(run, &hash)),
            Some(Target::Wait(run, hash.clone()))
        );
        assert_eq!(target(&step(run, &hash)), Some(Target::Step(run, hash)));
        let root = SpanId::root(run);
        assert_eq!(
            target(&span(TraceId::of(run), root)),
            Some(Target::Span(run, root))
        );
        let name = "shop/ordér.placed";
        assert_eq!(
            target(&event_type(DEFAULT_ENV, name)),
            Some(Target::EventType(DEFAULT_ENV, name.to_owned()))
        );
        let function = FunctionId::from_raw(DEFAULT_ENV.raw());
        assert_eq!(
            target(&function_version(function, 7)),
            Some(Target::FunctionVersion(function, 7))
        );
        assert_eq!(target(&backlog(function)), Some(Target::Backlog(function)));
        let bulk = BulkId::from_raw(ulid::Ulid(9));
        assert_eq!(
            target(&CancellationId(bulk).global()),
            Some(Target::Cancellation(bulk))
        );
        assert_eq!(target(&ReplayId(bulk).global()), Some(Target::Replay(bulk)));
        let sync = SyncId::from_raw(DEFAULT_ENV.raw());
        assert_eq!(target(&sync.global()), Some(Target::Sync(sync)));
        assert_eq!(
            target(&DEFAULT_ENV.global()),
            Some(Target::Environment(DEFAULT_ENV))
        );
        assert_eq!(target(&ID(run.to_string())), None);
        assert_eq!(target(&ID("zzz_1".into())), None);
    }
}
