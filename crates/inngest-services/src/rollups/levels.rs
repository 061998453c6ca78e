//! How full the schedule was: answers from what was sampled.

use inngest_core::{
    access::Actor,
    ids::FunctionId,
    rollup::{Level, Span},
    time::Timestamp,
};
use inngest_state::{GroupedBy, RollupGroup};
use uuid::Uuid;

use super::{GroupBy, MetricRange, MetricScope, Metrics, SeriesKey, key_of, top_of};
use crate::Error;

/// Levels over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The buckets.
    pub span: Span,
    /// The series, the highest first.
    pub series: Vec<LevelSeries>,
}

/// Levels of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSeries {
    /// Which one.
    pub key: SeriesKey,
    /// The most of each bucket; none where nobody looked, because nothing was due or under way.
    pub points: Vec<Option<u64>>,
}

impl Metrics<'_> {
    /// How full the schedule was, at most, in each bucket: in all or for one function, or for each of the functions with the most. Two
    /// statements at most.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`]; `levels_are_by_function` for other groups, because what was most at different times cannot be added up.
    pub async fn levels(
        &self,
        actor: &Actor,
        level: Level,
        range: MetricRange,
        group: GroupBy,
        function: Option<FunctionId>,
        top: Option<u32>,
    ) -> Result<Levels, Error> {
        let scope = MetricScope {
            functions: function.map(|function| vec![function]),
            apps: None,
        };
        let query = self.query(actor, range, scope)?;
        let most = top_of(top)?;
        let store = &self.0.store;
        let span = query.span;
        let series = match group {
            GroupBy::Nothing => {
                let together = RollupGroup::Together;
                let rows = store.rolled_levels(&query, &together, level).await?;
                vec![LevelSeries {
                    key: SeriesKey::Total,
                    points: most_of(span, &rows),
                }]
            }
            GroupBy::Function => {
                let ids = store.rolled_highest(&query, level, most).await?;
                let each = RollupGroup::Each(GroupedBy::Function, ids.clone());
                let rows = store.rolled_levels(&query, &each, level).await?;
                let series = |id: Uuid| {
                    let own: Vec<_> = rows.iter().filter(|(group, ..)| *group == id).collect();
                    LevelSeries {
                        key: key_of(GroupedBy::Function, id),
                        points: most_of(span, own),
                    }
                };
                ids.into_iter().map(series).collect()
            }
            GroupBy::App | GroupBy::Status => {
                return Err(Error::Invalid {
                    code: "levels_are_by_function",
                    message:
                        "levels are told for all together or by function, and not by app or status"
                            .to_owned(),
                });
            }
        };
        Ok(Levels { span, series })
    }
}

/// One number for each bucket; none where there is no row.
fn most_of<'a>(
    span: Span,
    rows: impl IntoIterator<Item = &'a (Uuid, Timestamp, u64)>,
) -> Vec<Option<u64>> {
    let mut points: Vec<Option<u64>> = span.starts().map(|_| None).collect();
    for (_, start, level) in rows {
        if let Some(point) = span.place(*start).and_then(|place| points.get_mut(place)) {
            *point = Some(*level);
        }
    }
    points
}
