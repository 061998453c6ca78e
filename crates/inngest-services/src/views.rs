//! What a page of an API shows in one call: runs with what their ids name, lists that may be searches, apps and functions by any of their
//! names.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    access::{Actor, Scope},
    app::{App, Function},
    event::Event,
    ids::{AppId, EnvId, EventId, FunctionId, RunId, StepId},
    json::Json,
    limits,
    page::{Direction, Page, PageRequest},
    run::{RerunFrom, Run, StepRecord},
    wire,
};
use inngest_state::{EventFilter, RunFilter};

use crate::{
    Beginning, Error, FunctionFilter, RequestKey, Rerun,
    apps::{Apps, Functions},
    engine::Engine,
    events::Events,
    lists::{bounded, bounded_pairs},
    requests::read_id,
    runs::Runs,
    search::Found,
};

/// A run with what its ids name; none of what is not stored any more.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// Its function, perhaps archived.
    pub function: Option<Function>,
    /// The app of its function, perhaps archived.
    pub app: Option<App>,
}

/// A function with its app.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionView {
    /// The function.
    pub function: Function,
    /// Its app.
    pub app: App,
}

/// Which runs to list. All parts must hold.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// By what the database knows.
    pub filter: RunFilter,
    /// Only of functions with any of these slugs, archived ones too.
    pub slugs: Option<Vec<String>>,
    /// Only of these apps, by their ids or names.
    pub apps: Option<Vec<String>>,
    /// Only of these functions of these apps, by any of their names.
    pub functions: Option<Vec<String>>,
    /// Only of this function of this app, by any of their names; both must exist.
    pub of: Option<(String, String)>,
    /// An expression over `event`, `output`, `error` and `run`.
    pub search: Option<String>,
}

/// Which events to list. All parts must hold.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// By what the database knows.
    pub filter: EventFilter,
    /// An expression over `event`.
    pub search: Option<String>,
}

/// What to start a function with.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The function by its id or slug, or by any of its names in `app`.
    pub function: String,
    /// The app by its id or name, where the function is named within it.
    pub app: Option<String>,
    /// Data of the event; empty when none is given.
    pub data: Option<Json>,
    /// User of the event.
    pub user: Option<Json>,
}

/// What an invocation has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The event of the invocation.
    pub event: EventId,
    /// The run; none when it is not stored any more.
    pub run: Option<RunId>,
}

impl Runs<'_> {
    /// One page of runs in the order in which they were queued, with what their ids name.
    ///
    /// # Errors
    /// Those of [`Runs::list`] and [`Runs::search`]; `NotFound` for an app or function that the query names and that does not exist.
    pub async fn find(
        &self,
        actor: &Actor,
        query: RunQuery,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<RunView>, Error> {
        actor.require(Scope::RunsRead)?;
        let engine = self.0;
        let search = query.search.clone();
        let filter = engine.filter_of(actor, query).await?;
        let found = self
            .page(actor, &filter, search.as_deref(), direction, request)
            .await?;
        let Page {
            items,
            cursors,
            has_next,
            has_previous,
        } = found.page;
        let page = Page {
            items: engine.views(actor, items).await?,
            cursors,
            has_next,
            has_previous,
        };
        Ok(Found {
            page,
            scan: found.scan,
        })
    }

    /// One run with what its ids name.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn view(&self, actor: &Actor, id: RunId) -> Result<RunView, Error> {
        let run = self.get(actor, id).await?;
        self.0.view(actor, run).await
    }

    /// [`Runs::cancel`], with what the ids of the run name.
    ///
    /// # Errors
    /// Those of [`Runs::cancel`].
    pub async fn cancel_view(&self, actor: &Actor, id: RunId) -> Result<RunView, Error> {
        let run = self.cancel(actor, id).await?;
        self.0.view(actor, run).await
    }

    /// [`Runs::rerun`], with what the ids of the new run name.
    ///
    /// # Errors
    /// Those of [`Runs::rerun`].
    pub async fn rerun_view(
        &self,
        actor: &Actor,
        id: RunId,
        rerun: Rerun,
        key: Option<RequestKey>,
    ) -> Result<RunView, Error> {
        let run = self.rerun(actor, id, rerun, key).await?;
        self.0.view(actor, run).await
    }

    /// Starts a run again from one of its steps, which is named by its id or, if there is one of that name, as it is shown. With `input` it
    /// gets other arguments. A second request with the same key gets the run of the first.
    ///
    /// # Errors
    /// Those of [`Runs::rerun`]; `Conflict` with `step_ambiguous` when several steps have the name.
    pub async fn rerun_from(
        &self,
        actor: &Actor,
        id: RunId,
        step: &str,
        input: Option<Json>,
        key: Option<RequestKey>,
    ) -> Result<Run, Error> {
        actor.require(Scope::RunsWrite)?;
        if let Some(result) = self.0.find_answer(actor, key.as_ref()).await? {
            return self.get(actor, read_id(&result)?).await;
        }
        let steps = self.0.steps_together(actor.env, &[id]).await?;
        let by_id = steps.iter().find(|found| found.step.as_str() == step);
        let named: Vec<&StepRecord> = steps.iter().filter(|found| found.name == step).collect();
        let step = match (by_id, named.as_slice()) {
            (Some(found), _) => found.step.clone(),
            (None, [found]) => found.step.clone(),
            // There is none; the rerun says so.
            (None, []) => StepId::parse(step)?,
            (None, [_, _, ..]) => {
                return Err(Error::Conflict {
                    code: "step_ambiguous",
                    message: format!("{} steps of the run have this name", named.len()),
                });
            }
        };
        let rerun = Rerun {
            from: Beginning::Step(RerunFrom { step, input }),
            ..Rerun::default()
        };
        self.rerun(actor, id, rerun, key).await
    }

    /// One page of the runs that an event started, oldest first, with what their ids name; none for an event that does not exist. It
    /// ends early where their outputs are large.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn views_of_event(
        &self,
        actor: &Actor,
        id: EventId,
        request: &PageRequest,
    ) -> Result<Page<RunView>, Error> {
        actor.require(Scope::RunsRead)?;
        let engine = self.0;
        let page = engine
            .store
            .page_runs_of_event(actor.env, id, request, limits::PAGE_BYTES)
            .await?;
        let Page {
            items,
            cursors,
            has_next,
            has_previous,
        } = page.map(|run| engine.shown(run));
        Ok(Page {
            items: engine.views(actor, items).await?,
            cursors,
            has_next,
            has_previous,
        })
    }

    /// One page of the steps of a run: those that have ended in that order, then the others in the order in which they were found. It
    /// ends early where their outputs are large.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's; `invalid_cursor`.
    pub async fn page_steps(
        &self,
        actor: &Actor,
        id: RunId,
        request: &PageRequest,
    ) -> Result<Page<StepRecord>, Error> {
        self.get(actor, id).await?;
        let store = &self.0.store;
        let mut page = store
            .page_steps_of_run(actor.env, id, request, limits::PAGE_BYTES)
            .await?;
        let ids: Vec<StepId> = page.items.iter().map(|step| step.step.clone()).collect();
        let failed = store.count_failed_attempts(actor.env, id, &ids).await?;
        for step in &mut page.items {
            step.failed_attempts = failed.get(&step.step).copied().unwrap_or(0);
            self.0.show_start(step);
        }
        Ok(page)
    }
}

impl Events<'_> {
    /// One page of events in the order in which they were accepted.
    ///
    /// # Errors
    /// Those of [`Events::list`] and [`Events::search`].
    pub async fn find(
        &self,
        actor: &Actor,
        query: &EventQuery,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Event>, Error> {
        let search = query.search.as_deref();
        self.page(actor, &query.filter, search, direction, request)
            .await
    }

    /// Starts one function directly. A second request with the same key gets what the first has led to.
    ///
    /// # Errors
    /// `NotFound` when there is no such function, or it is archived; `Invalid` when the data are not those of an event; those of
    /// [`Events::invoke`].
    pub async fn start(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        key: Option<RequestKey>,
    ) -> Result<Started, Error> {
        actor.require(Scope::EventsSend)?;
        let engine = self.0;
        let function = match &invocation.app {
            Some(app) => {
                engine
                    .find_function_of(actor, app, &invocation.function)
                    .await?
            }
            None => engine.find_function(actor, &invocation.function).await?,
        };
        let (id, slug) = (function.function.id, function.function.slug);
        let data = invocation.data.clone().unwrap_or_else(Json::empty_object);
        let mut members = vec![("data", &data)];
        members.extend(invocation.user.as_ref().map(|user| ("user", user)));
        let body = Json::object(members);
        let now = engine.clock.now();
        let event = wire::event::parse_invoke(body.as_bytes(), &slug, None, now, &engine.ids);
        let event = event.map_err(|error| match error.code {
            code @ "event_too_large" => Error::TooLarge {
                code,
                message: error.message,
            },
            code => Error::Invalid {
                code,
                message: error.message,
            },
        })?;
        let event = self.invoke_function(actor, id, event, key).await?;
        let runs = engine.store.runs_of_events(actor.env, &[event], 1).await?;
        Ok(Started {
            event,
            run: runs.first().map(|run| run.id),
        })
    }
}

impl Apps<'_> {
    /// The app of this id or name, perhaps archived.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn find(&self, actor: &Actor, name: &str) -> Result<App, Error> {
        actor.require(Scope::AppsRead)?;
        self.0.find_app(actor, name).await
    }

    /// Asks an app again which functions it has, where it was last.
    ///
    /// # Errors
    /// `NotFound` when there is no such app; those of [`Apps::sync_registered`].
    pub async fn sync_again(&self, actor: &Actor, name: &str) -> Result<App, Error> {
        actor.require(Scope::AppsWrite)?;
        let app = self.0.find_app(actor, name).await?;
        let (id, _) = self.sync_registered(actor, &app.url, Some(app.id)).await?;
        self.0.find_app(actor, &id.to_string()).await
    }

    /// Asks the app at this URL which functions it has.
    ///
    /// # Errors
    /// Those of [`Apps::sync_registered`].
    pub async fn sync_url(&self, actor: &Actor, url: &str) -> Result<App, Error> {
        let (id, _) = self.sync_registered(actor, url, None).await?;
        self.0.find_app(actor, &id.to_string()).await
    }

    /// Removes an app, by its id or name, and archives its functions. Their runs go on.
    ///
    /// # Errors
    /// `NotFound` when there is no such app, or it was removed before.
    pub async fn archive(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        actor.require(Scope::AppsWrite)?;
        let app = self.0.find_app(actor, name).await?;
        self.remove_app(actor, app.id).await
    }
}

impl Functions<'_> {
    /// The function of this id or slug, perhaps archived.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn view(&self, actor: &Actor, name: &str) -> Result<FunctionView, Error> {
        actor.require(Scope::AppsRead)?;
        self.0.find_function(actor, name).await
    }

    /// The function of an app, by any of their names.
    ///
    /// # Errors
    /// `NotFound` when one of them does not exist, or is not this actor's.
    pub async fn view_of(
        &self,
        actor: &Actor,
        app: &str,
        function: &str,
    ) -> Result<FunctionView, Error> {
        actor.require(Scope::AppsRead)?;
        self.0.find_function_of(actor, app, function).await
    }

    /// All functions of an app, by its id or name, that are not archived, by slug. Their number is bounded by that of a sync.
    ///
    /// # Errors
    /// `NotFound` when there is no such app.
    pub async fn all_views_of(&self, actor: &Actor, app: &str) -> Result<Vec<FunctionView>, Error> {
        actor.require(Scope::AppsRead)?;
        let app = self.0.find_app(actor, app).await?;
        let functions = self.list(actor, Some(app.id), false).await?;
        let view = |function| FunctionView {
            function,
            app: app.clone(),
        };
        Ok(functions.into_iter().map(view).collect())
    }

    /// One page of functions by slug with their apps; of one app, by its id or name, if one is named.
    ///
    /// # Errors
    /// Those of [`Functions::page`]; `NotFound` when there is no such app.
    pub async fn views(
        &self,
        actor: &Actor,
        app: Option<&str>,
        mut filter: FunctionFilter,
        request: &PageRequest,
    ) -> Result<Page<FunctionView>, Error> {
        actor.require(Scope::AppsRead)?;
        let engine = self.0;
        if let Some(name) = app {
            let app = engine.find_app(actor, name).await?.id;
            let is_asked_for = filter.apps.as_ref().is_none_or(|apps| apps.contains(&app));
            filter.apps = Some(is_asked_for.then_some(app).into_iter().collect());
        }
        let page = self.page(actor, &filter, request).await?;
        let apps: HashSet<AppId> = page.items.iter().map(|function| function.app).collect();
        let apps = engine.apps(actor, apps).await?;
        page.try_map(|function| {
            let app = apps.get(&function.app).cloned();
            let app = app.ok_or_else(|| Error::Internal {
                what: "a function without its app".to_owned(),
            })?;
            Ok(FunctionView { function, app })
        })
    }
}

/// Apps and functions by their ids, where any are named.
type Named = (Option<Vec<AppId>>, Option<Vec<FunctionId>>);

impl RunQuery {
    /// The ids of the apps that it names, and of the functions that it names in them. Ids follow from names, so what does not exist
    /// has one too.
    fn named(&self, env: EnvId) -> Result<Named, Error> {
        let Some(names) = &self.apps else {
            return match self.functions {
                None => Ok((None, None)),
                Some(_) => Err(Error::Invalid {
                    code: "app_needed",
                    message: "a function is named within its app, so name that too".to_owned(),
                }),
            };
        };
        let apps: Vec<AppId> = names.iter().map(|name| app_id(env, name)).collect();
        let Some(functions) = &self.functions else {
            return Ok((Some(apps), None));
        };
        // Each function can be one of each app.
        bounded_pairs(names.len(), functions.len())?;
        let pairs = names.iter().zip(&apps);
        let all = pairs.flat_map(|(name, app)| {
            functions
                .iter()
                .flat_map(move |it| function_ids(*app, name, it))
        });
        Ok((Some(apps.clone()), Some(all.collect())))
    }
}

/// The id of an app follows from its name.
fn app_id(env: EnvId, name: &str) -> AppId {
    let id = name.parse();
    id.unwrap_or_else(|_| AppId::derive(env, name))
}

/// What a function can have for an id that is named so in this app: by its slug, by what its slug has after the name of the app, or by
/// the id itself.
pub(crate) fn function_ids(app: AppId, app_name: &str, name: &str) -> Vec<FunctionId> {
    let slugs = [name.to_owned(), format!("{app_name}-{name}")];
    let derived = slugs.iter().map(|slug| FunctionId::derive(app, slug));
    derived.chain(name.parse::<FunctionId>()).collect()
}

pub(crate) fn no_function(name: &str) -> Error {
    Error::NotFound {
        what: "function",
        id: name.to_owned(),
    }
}

/// Both conditions at once, where there are two.
fn both<T: PartialEq>(one: Option<Vec<T>>, other: Option<Vec<T>>) -> Option<Vec<T>> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.retain(|id| other.contains(id));
            Some(one)
        }
        (one, other) => one.or(other),
    }
}

impl Engine {
    async fn filter_of(&self, actor: &Actor, query: RunQuery) -> Result<RunFilter, Error> {
        let (apps, functions) = query.named(actor.env)?;
        let mut filter = query.filter;
        bounded(filter.longest_list())?;
        filter.apps = both(filter.apps, apps);
        filter.functions = both(filter.functions, functions);
        if let Some(slugs) = query.slugs {
            let named = Functions(self).ids_of_slugs(actor, &slugs).await?;
            filter.functions = both(filter.functions, Some(named));
        }
        if let Some((app, function)) = query.of {
            let found = self.find_function_of(actor, &app, &function).await?;
            filter.functions = both(filter.functions, Some(vec![found.function.id]));
        }
        Ok(filter)
    }

    async fn view(&self, actor: &Actor, run: Run) -> Result<RunView, Error> {
        let id = run.id;
        let views = self.views(actor, vec![run]).await?;
        views.into_iter().next().ok_or_else(|| Error::no_run(id))
    }

    async fn views(&self, actor: &Actor, runs: Vec<Run>) -> Result<Vec<RunView>, Error> {
        let ids: HashSet<FunctionId> = runs.iter().map(|run| run.function).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<FunctionId> = ids.into_iter().collect();
        let functions = self.store.find_functions(actor.env, &ids).await?;
        let functions: HashMap<FunctionId, Function> = functions
            .into_iter()
            .map(|function| (function.id, function))
            .collect();
        let apps = runs.iter().map(|run| run.app).collect();
        let apps = self.apps(actor, apps).await?;
        let view = |run: Run| RunView {
            function: functions.get(&run.function).cloned(),
            app: apps.get(&run.app).cloned(),
            run,
        };
        Ok(runs.into_iter().map(view).collect())
    }

    async fn apps(&self, actor: &Actor, ids: HashSet<AppId>) -> Result<HashMap<AppId, App>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<AppId> = ids.into_iter().collect();
        let apps = self.store.find_apps(actor.env, &ids).await?;
        Ok(apps.into_iter().map(|app| (app.id, app)).collect())
    }

    pub(crate) async fn find_app(&self, actor: &Actor, name: &str) -> Result<App, Error> {
        let id = app_id(actor.env, name);
        let found = self.store.find_apps(actor.env, &[id]).await?.pop();
        found.ok_or_else(|| Error::NotFound {
            what: "app",
            id: name.to_owned(),
        })
    }

    pub(crate) async fn find_function(
        &self,
        actor: &Actor,
        name: &str,
    ) -> Result<FunctionView, Error> {
        let missing = || no_function(name);
        let function = match name.parse::<FunctionId>() {
            Ok(id) => self.store.find_functions(actor.env, &[id]).await?.pop(),
            Err(_) => {
                let slugs = [name.to_owned()];
                let named = self.store.find_functions_by_slugs(actor.env, &slugs);
                named.await?.into_iter().next()
            }
        };
        let function = function.ok_or_else(missing)?;
        let app = self.store.find_apps(actor.env, &[function.app]).await?;
        let app = app.into_iter().next().ok_or_else(missing)?;
        Ok(FunctionView { function, app })
    }

    async fn find_function_of(
        &self,
        actor: &Actor,
        app: &str,
        function: &str,
    ) -> Result<FunctionView, Error> {
        let app = self.find_app(actor, app).await?;
        let candidates = function_ids(app.id, &app.name, function);
        let found = self.store.find_functions(actor.env, &candidates).await?;
        let own = found.into_iter().find(|found| found.app == app.id);
        let function = own.ok_or_else(|| no_function(function))?;
        Ok(FunctionView { function, app })
    }
}
