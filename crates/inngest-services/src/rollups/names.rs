//! Events by name: answers from buckets of their own.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    access::{Actor, Scope},
    rollup::{Counter, Span},
};
use inngest_state::{NamedPoint, RollupGroup};

use super::{
    CountSeries, Counts, Flow, GroupBy, MOST_SERIES, MetricRange, MetricScope, Metrics, SeriesKey,
    points, top_of,
};
use crate::{Error, lists::bounded};

impl Metrics<'_> {
    /// How many events of senders there were in each bucket: of each of these names, or of the `top` most frequent ones and of all others
    /// together, or, without either, of all names together. Three statements at most.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`]; the actor may not see events, where names are told; `names_or_top` when both are given.
    pub async fn events(
        &self,
        actor: &Actor,
        range: MetricRange,
        names: Option<&[String]>,
        top: Option<u32>,
    ) -> Result<Counts, Error> {
        match (names, top) {
            (None, None) => {
                let (group, scope) = (GroupBy::Nothing, MetricScope::default());
                self.counts(actor, Flow::Events, range, group, scope, None)
                    .await
            }
            (Some(names), None) => {
                if names.len() > MOST_SERIES as usize {
                    return Err(Error::Invalid {
                        code: "invalid_number_of_series",
                        message: format!(
                            "{} names are more than {MOST_SERIES}; ask for fewer at once",
                            names.len()
                        ),
                    });
                }
                self.volumes(actor, range, names).await
            }
            (None, Some(top)) => self.most_frequent(actor, range, top).await,
            (Some(_), Some(_)) => Err(Error::Invalid {
                code: "names_or_top",
                message: "ask for these names or for the most frequent ones, not for both"
                    .to_owned(),
            }),
        }
    }

    /// How many events of each of these names there were in each bucket, each name once, in this order. One statement.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`]; the actor may not see events.
    pub async fn volumes(
        &self,
        actor: &Actor,
        range: MetricRange,
        names: &[String],
    ) -> Result<Counts, Error> {
        actor.require(Scope::EventsRead)?;
        bounded(names.len())?;
        let span = self.query(actor, range, MetricScope::default())?.span;
        let found = self.0.store.rolled_names(actor.env, span, names).await?;
        Ok(Counts {
            span,
            series: series_of(span, names, &found),
        })
    }

    async fn most_frequent(
        &self,
        actor: &Actor,
        range: MetricRange,
        top: u32,
    ) -> Result<Counts, Error> {
        actor.require(Scope::EventsRead)?;
        let query = self.query(actor, range, MetricScope::default())?;
        let (span, most) = (query.span, top_of(Some(top))?);
        let store = &self.0.store;
        let names = store.rolled_top_names(actor.env, span, most).await?;
        let found = store.rolled_names(actor.env, span, &names).await?;
        let mut series = series_of(span, &names, &found);
        // Read last, so that it has what has come in between.
        let together = RollupGroup::Together;
        let all = store.rolled_counts(&query, &together, &[Counter::Events]);
        let mut rest = points(span, &all.await?, |counts| counts.iter().sum());
        for own in &series {
            for (left, count) in rest.iter_mut().zip(&own.points) {
                *left = left.saturating_sub(*count);
            }
        }
        if rest.iter().any(|count| *count > 0) {
            let key = SeriesKey::Other;
            series.push(CountSeries { key, points: rest });
        }
        Ok(Counts { span, series })
    }
}

/// A series for each name, once, in this order; zeros where nothing came.
fn series_of(span: Span, names: &[String], found: &[NamedPoint]) -> Vec<CountSeries> {
    let mut by_name: HashMap<&str, Vec<&NamedPoint>> = HashMap::new();
    for point in found {
        by_name.entry(&point.name).or_default().push(point);
    }
    let mut seen = HashSet::new();
    let names = names.iter().filter(|name| seen.insert(name.as_str()));
    let series = |name: &String| {
        let mut points: Vec<u64> = span.starts().map(|_| 0).collect();
        for own in by_name.get(name.as_str()).into_iter().flatten() {
            if let Some(point) = span.place(own.start).and_then(|it| points.get_mut(it)) {
                *point = own.events;
            }
        }
        CountSeries {
            key: SeriesKey::EventName(name.clone()),
            points,
        }
    };
    names.map(series).collect()
}
