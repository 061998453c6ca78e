//! The functions of each environment, read once per version and ready to be asked what an event starts.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use inngest_core::{
    app::Function,
    event::FUNCTION_FAILED,
    expr::Program,
    function::{
        config::{FunctionConfig, Trigger},
        trigger::{is_wildcard, patterns_for},
    },
    ids::{EnvId, FunctionId},
    pause::PauseNewEvents,
    time::{Clock, Timestamp},
    wire::sync::parse_config,
};
use inngest_state::{Store, Writers};
use tracing::error;

use crate::{Error, lists::contains, programs::Programs};

/// How old what is known of an environment's functions may be where other processes change them too: within it, all have learned of a
/// pause. What is routed by an older version is refused at once.
const FRESH: Duration = Duration::from_secs(1);

/// A function, read and compiled.
pub(crate) struct Loaded {
    /// As stored.
    pub(crate) function: Function,
    /// Read from its JSON.
    pub(crate) config: FunctionConfig,
    /// The expression of each trigger, compiled. `Some(None)`: it does not compile, so the trigger never matches.
    conditions: Vec<Option<Option<Program>>>,
    /// The idempotency expression, compiled.
    pub(crate) idempotency: Option<Program>,
}

impl Loaded {
    /// Whether an app of this SDK can fetch state that does not fit into a call.
    pub(crate) fn new(function: Function, programs: &Programs) -> Option<Self> {
        let config = match parse_config(&function.config) {
            Ok(config) => config,
            Err(problem) => {
                error!(function.slug = %function.slug, error = %problem, "stored configuration cannot be read; the function starts no runs");
                return None;
            }
        };
        let conditions = config
            .triggers
            .iter()
            .map(|trigger| match trigger {
                Trigger::Event {
                    expression: Some(text),
                    ..
                } => Some(programs.get(text)),
                Trigger::Event {
                    expression: None, ..
                }
                | Trigger::Cron { .. } => None,
            })
            .collect();
        let idempotency = config
            .idempotency
            .as_deref()
            .and_then(|text| programs.get(text));
        Some(Self {
            function,
            config,
            conditions,
            idempotency,
        })
    }
}

impl Loaded {
    /// Whether new triggers start no run, because the function is paused.
    pub(crate) fn skips(&self) -> bool {
        let pause = self.function.pause.as_ref();
        pause.is_some_and(|pause| pause.new_events == PauseNewEvents::Skip)
    }

    /// Whether a trigger of this number holds for an event whose name fits it. An expression that fails counts as false.
    fn holds_for(&self, number: usize, body: &serde_json::Value, now_ms: i64) -> bool {
        self.judge(number, body, now_ms).unwrap_or(false)
    }

    fn judge(&self, number: usize, body: &serde_json::Value, now_ms: i64) -> Result<bool, String> {
        match &self.conditions[number] {
            None => Ok(true),
            Some(None) => Err("it is no expression".to_owned()),
            Some(Some(program)) => {
                let vars = inngest_core::expr::Vars {
                    event: Some(body),
                    incoming: None,
                    now: Some(now_ms),
                    ..inngest_core::expr::Vars::default()
                };
                program.matches(&vars).map_err(|error| error.to_string())
            }
        }
    }

    /// Whether one of its triggers fits this name and holds for the event.
    ///
    /// # Errors
    /// Why an expression cannot be worked out, when none holds.
    pub(crate) fn is_triggered(
        &self,
        name: &str,
        body: &serde_json::Value,
        now_ms: i64,
    ) -> Result<bool, String> {
        let patterns = patterns_for(name);
        let mut holds = Ok(false);
        for (number, trigger) in self.config.triggers.iter().enumerate() {
            let Trigger::Event { pattern, .. } = trigger else {
                continue;
            };
            if patterns.iter().all(|one| one.as_ref() != pattern.as_str()) {
                continue;
            }
            match self.judge(number, body, now_ms) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => holds = Err(error),
            }
        }
        holds
    }

    /// Whether it has a trigger of its own for the failure of the function with this slug, and not for that of others.
    fn handles_failure_of(&self, slug: &str, now_ms: i64) -> bool {
        let failure = |slug: &str| serde_json::json!({"name": FUNCTION_FAILED, "data": {"function_id": slug}});
        let (this, other) = (failure(slug), failure(""));
        let triggers = self.config.triggers.iter().enumerate();
        triggers
            .filter(|(_, trigger)| {
                matches!(trigger, Trigger::Event { pattern, .. } if pattern == FUNCTION_FAILED)
            })
            .any(|(number, _)| {
                self.holds_for(number, &this, now_ms) && !self.holds_for(number, &other, now_ms)
            })
    }

    /// Whether a run of it gets no further call for now.
    pub(crate) fn holds(&self, has_started: bool) -> bool {
        let pause = self.function.pause.as_ref();
        pause.is_some_and(|pause| pause.holds(has_started))
    }
}

/// The functions of one environment at one version.
pub(crate) struct Registry {
    /// The version, stated by every commit that was routed by it.
    pub(crate) version: i64,
    /// When the version was last compared with the database's, in ms.
    checked_at: AtomicI64,
    by_id: HashMap<FunctionId, Arc<Loaded>>,
    by_slug: HashMap<String, Arc<Loaded>>,
    /// Trigger patterns with the functions that have them and the number of the trigger.
    by_pattern: HashMap<String, Vec<(Arc<Loaded>, usize)>>,
}

impl Registry {
    fn new(
        version: i64,
        functions: Vec<Function>,
        programs: &Programs,
        checked_at: Timestamp,
    ) -> Self {
        let mut registry = Self {
            version,
            checked_at: checked_at.as_millis().into(),
            by_id: HashMap::new(),
            by_slug: HashMap::new(),
            by_pattern: HashMap::new(),
        };
        for function in functions {
            let Some(loaded) = Loaded::new(function, programs).map(Arc::new) else {
                continue;
            };
            for (number, trigger) in loaded.config.triggers.iter().enumerate() {
                if let Trigger::Event { pattern, .. } = trigger {
                    registry
                        .by_pattern
                        .entry(pattern.clone())
                        .or_default()
                        .push((loaded.clone(), number));
                }
            }
            registry
                .by_slug
                .insert(loaded.function.slug.clone(), loaded.clone());
            registry.by_id.insert(loaded.function.id, loaded);
        }
        registry
    }

    /// A function by id.
    pub(crate) fn by_id(&self, id: FunctionId) -> Option<&Arc<Loaded>> {
        self.by_id.get(&id)
    }

    /// Up to so many functions with this text in their name or slug, in any case: first those of which it is the whole name or slug, then by slug.
    pub(crate) fn named(&self, part: &str, most: usize) -> Vec<Arc<Loaded>> {
        let has = |loaded: &&Arc<Loaded>| {
            let function = &loaded.function;
            contains(&function.slug, part) || contains(&function.name, part)
        };
        let mut found: Vec<Arc<Loaded>> = self.by_slug.values().filter(has).cloned().collect();
        found.sort_by_cached_key(|loaded| {
            let Function { slug, name, .. } = &loaded.function;
            (slug != part && name != part, slug.clone())
        });
        found.truncate(most);
        found
    }

    /// A function as `step.invoke` names it: by slug, or by id.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.by_slug
            .get(name)
            .or_else(|| name.parse().ok().and_then(|id| self.by_id.get(&id)))
    }

    /// The function of the same app that is registered to run when this one fails.
    pub(crate) fn failure_handler(&self, id: FunctionId) -> Option<&Arc<Loaded>> {
        let of = &self.by_id.get(&id)?.function;
        let handler = self.by_slug.get(&format!("{}-failure", of.slug))?;
        let now_ms = self.checked_at.load(Ordering::Relaxed);
        let is_its = handler.function.app == of.app && handler.handles_failure_of(&of.slug, now_ms);
        is_its.then_some(handler)
    }

    /// The functions with a trigger whose pattern fits this name, whatever its condition, in the order of their slugs.
    pub(crate) fn listening(&self, name: &str) -> Vec<Arc<Loaded>> {
        let mut found: Vec<Arc<Loaded>> = patterns_for(name)
            .iter()
            .filter_map(|pattern| self.by_pattern.get(pattern.as_ref()))
            .flatten()
            .map(|(loaded, _)| loaded.clone())
            .collect();
        found.sort_by(|a, b| a.function.slug.cmp(&b.function.slug));
        found.dedup_by_key(|loaded| loaded.function.id);
        found
    }

    /// The names of events that triggers name, without wildcards.
    pub(crate) fn event_names(&self) -> impl Iterator<Item = &str> {
        let patterns = self.by_pattern.keys().map(String::as_str);
        patterns.filter(|pattern| !is_wildcard(pattern))
    }

    /// The functions that an event starts, each once, in the order of their slugs: those of whose triggers the first that fits the name
    /// and whose expression holds. An expression that fails counts as false.
    pub(crate) fn triggered_by(
        &self,
        name: &str,
        body: impl FnOnce() -> serde_json::Value,
        now_ms: i64,
    ) -> Vec<Arc<Loaded>> {
        let mut candidates: Vec<&(Arc<Loaded>, usize)> = patterns_for(name)
            .iter()
            .filter_map(|pattern| self.by_pattern.get(pattern.as_ref()))
            .flatten()
            .collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        candidates.sort_by(|(a, m), (b, n)| (&a.function.slug, m).cmp(&(&b.function.slug, n)));
        let needs_body = candidates
            .iter()
            .any(|(loaded, number)| loaded.conditions[*number].is_some());
        let body = if needs_body {
            body()
        } else {
            serde_json::Value::Null
        };
        let mut found: Vec<Arc<Loaded>> = Vec::new();
        for (loaded, number) in candidates {
            if found
                .last()
                .is_some_and(|last| last.function.id == loaded.function.id)
            {
                continue;
            }
            if loaded.holds_for(*number, &body, now_ms) {
                found.push(loaded.clone());
            }
        }
        found
    }
}

/// The registries of all environments that were asked for.
pub(crate) struct Registries {
    store: Store,
    programs: Programs,
    clock: Clock,
    by_env: RwLock<HashMap<EnvId, Arc<Registry>>>,
    /// One reads at a time, so that what was read earlier never takes the place of what was read later.
    reading: tokio::sync::Mutex<()>,
}

impl Registries {
    pub(crate) fn new(store: Store, programs: Programs, clock: Clock) -> Self {
        Self {
            store,
            programs,
            clock,
            by_env: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The registry of an environment. It may be outdated by now, no more than [`FRESH`] where others change functions too: commits
    /// state its version, and a refused one calls `reload`.
    pub(crate) async fn get(&self, env: EnvId) -> Result<Arc<Registry>, Error> {
        let known = self
            .by_env
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&env)
            .cloned();
        match known {
            Some(registry) if self.is_fresh(&registry) => Ok(registry),
            Some(registry) if self.store.functions_version(env).await? == registry.version => {
                Ok(registry)
            }
            Some(_) | None => self.reload(env).await,
        }
    }

    /// Whether it need not be compared with the database now. Of those who ask at the same time one does it.
    fn is_fresh(&self, registry: &Registry) -> bool {
        if self.store.writers() == Writers::One {
            return true;
        }
        let now = self.clock.now();
        let checked_at = registry.checked_at.load(Ordering::Relaxed);
        if now.since(Timestamp::from_millis(checked_at)) < FRESH {
            return true;
        }
        let order = Ordering::Relaxed;
        let taken = registry
            .checked_at
            .compare_exchange(checked_at, now.as_millis(), order, order);
        taken.is_err()
    }

    /// Reads the registry again.
    pub(crate) async fn reload(&self, env: EnvId) -> Result<Arc<Registry>, Error> {
        let _alone = self.reading.lock().await;
        let now = self.clock.now();
        let (version, functions) = self.store.load_functions(env).await?;
        let registry = Registry::new(version, functions, &self.programs, now);
        let registry = Arc::new(registry);
        self.by_env
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(env, registry.clone());
        Ok(registry)
    }

    /// A function that may be archived by now, because its runs go on.
    pub(crate) async fn function(
        &self,
        env: EnvId,
        id: FunctionId,
    ) -> Result<Option<Arc<Loaded>>, Error> {
        if let Some(loaded) = self.get(env).await?.by_id(id) {
            return Ok(Some(loaded.clone()));
        }
        let found = self.store.find_functions(env, &[id]).await?.pop();
        Ok(found
            .and_then(|function| Loaded::new(function, &self.programs))
            .map(Arc::new))
    }
}
