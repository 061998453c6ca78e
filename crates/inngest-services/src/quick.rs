//! Finding one thing by what people have of it: an id, or a part of a name.

use std::collections::HashSet;

use inngest_core::{
    access::{Actor, Scope},
    app::{App, Function},
    event::Event,
    ids::{AppId, EventId, FunctionId, RunId},
    page::{Page, PageRequest},
    run::Run,
};
use inngest_state::AppFilter;

use crate::{
    Error, Services,
    lists::{AppRows, contains},
    search::SEARCH_ROWS,
    sift,
};

/// Longest text that is looked for, in bytes.
const TERM_BYTES: usize = 256;
/// Most things that are found at once.
pub const QUICK_HITS: usize = 50;

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub enum QuickHit {
    /// An app.
    App(App),
    /// A function.
    Function(Function),
    /// A run.
    Run(Run),
    /// An event.
    Event(Event),
    /// The name of events.
    EventName(String),
}

impl Services {
    /// What has this id, native or global, and what has this text in its name: apps, functions that are not archived (in the slug as
    /// well), and names of events. What the id is of comes first, then what the text is the whole name of; of the rest apps before
    /// functions before names of events, each by name. Sorts that the actor may not see are left out. Ids are looked up by key; names are
    /// those that lists of apps and of names of events have, and the functions that this process has loaded.
    ///
    /// # Errors
    /// `term_too_long` for more than 256 bytes.
    pub async fn quick_search(
        &self,
        actor: &Actor,
        term: &str,
        most: usize,
    ) -> Result<Vec<QuickHit>, Error> {
        let (term, most) = (term.trim(), most.min(QUICK_HITS));
        if term.len() > TERM_BYTES {
            return Err(Error::Invalid {
                code: "term_too_long",
                message: format!(
                    "what is looked for can have {TERM_BYTES} bytes, this has {}",
                    term.len()
                ),
            });
        }
        if term.is_empty() {
            return Ok(Vec::new());
        }
        let mut hits = self.by_id(actor, term).await?;
        let mut seen: HashSet<String> = hits.iter().map(key).collect();
        let mut named = self.by_name(actor, term, most).await?;
        // Stable: within both halves the order stays.
        named.sort_by_key(|hit| !is_whole_name(hit, term));
        hits.extend(named.into_iter().filter(|hit| seen.insert(key(hit))));
        hits.truncate(most);
        Ok(hits)
    }

    async fn by_id(&self, actor: &Actor, term: &str) -> Result<Vec<QuickHit>, Error> {
        let (prefix, native) = term.split_once('_').unwrap_or(("", term));
        let is = |wanted: &str| prefix.is_empty() || prefix == wanted;
        let may = |scope| actor.require(scope).is_ok();
        let mut hits = Vec::new();
        // Nearly no text is an id, and then nothing is asked.
        if let Ok(id) = native.parse::<RunId>()
            && is("run")
            && may(Scope::RunsRead)
        {
            let found = self.runs().get_many(actor, &[id]).await?;
            hits.extend(found.into_values().map(QuickHit::Run));
        }
        if let Ok(id) = native.parse::<EventId>()
            && is("evt")
            && may(Scope::EventsRead)
        {
            let found = self.events().get_many(actor, &[id]).await?;
            hits.extend(found.into_values().map(QuickHit::Event));
        }
        if let Ok(id) = native.parse::<FunctionId>()
            && is("fn")
            && may(Scope::AppsRead)
        {
            let found = self.functions().get_many(actor, &[id]).await?;
            hits.extend(found.into_values().map(QuickHit::Function));
        }
        if let Ok(id) = native.parse::<AppId>()
            && is("app")
            && may(Scope::AppsRead)
        {
            let found = self.apps().get_many(actor, &[id]).await?;
            hits.extend(found.into_values().map(QuickHit::App));
        }
        Ok(hits)
    }

    async fn by_name(
        &self,
        actor: &Actor,
        term: &str,
        most: usize,
    ) -> Result<Vec<QuickHit>, Error> {
        let (engine, mut hits) = (&self.0, Vec::new());
        if actor.require(Scope::AppsRead).is_ok() {
            // The id of an app follows from its name, so the one with just this name is found however many others there are.
            let whole = AppId::derive(actor.env, term);
            let whole = self.apps().get_many(actor, &[whole]).await?.into_values();
            let whole = whole.filter(|app| app.archived_at.is_none());
            hits.extend(whole.map(QuickHit::App));
            let rows = AppRows {
                store: &engine.store,
                env: actor.env,
                filter: AppFilter::default(),
            };
            // Cannot overflow: no more than QUICK_HITS.
            let request = PageRequest::new(u32::try_from(most.max(1)).unwrap_or(1), None);
            let keep = |app: &App| contains(&app.name, term);
            let found: Page<App> = sift::page(&rows, &request, keep, SEARCH_ROWS).await?.page;
            hits.extend(found.items.into_iter().map(QuickHit::App));
            let registry = engine.registries.get(actor.env).await?;
            let found = registry.named(term, most).into_iter();
            hits.extend(found.map(|loaded| QuickHit::Function(loaded.function.clone())));
        }
        if actor.require(Scope::EventsRead).is_ok() {
            let names = self.events().names(actor, Some(term)).await?;
            // One that is the whole text stays, however many others there are.
            let (whole, parts): (Vec<String>, Vec<String>) =
                names.into_iter().partition(|name| name == term);
            let names = whole.into_iter().chain(parts).take(most);
            hits.extend(names.map(QuickHit::EventName));
        }
        Ok(hits)
    }
}

/// What tells hits apart.
fn key(hit: &QuickHit) -> String {
    match hit {
        QuickHit::App(app) => format!("app {}", app.id),
        QuickHit::Function(function) => format!("function {}", function.id),
        QuickHit::Run(run) => format!("run {}", run.id),
        QuickHit::Event(event) => format!("event {}", event.id),
        QuickHit::EventName(name) => format!("name {name}"),
    }
}

fn is_whole_name(hit: &QuickHit, term: &str) -> bool {
    match hit {
        QuickHit::App(app) => app.name == term,
        QuickHit::Function(function) => function.slug == term || function.name == term,
        QuickHit::EventName(name) => name == term,
        QuickHit::Run(_) | QuickHit::Event(_) => false,
    }
}
