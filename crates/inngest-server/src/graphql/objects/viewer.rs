//! Who asks, and the organization that the credential acts in.

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};

use inngest_core::access::{ActorKind, Role, Scope};
use inngest_services::Usage;

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, Page},
    ids::GlobalId,
    listed::UsageIn,
    objects::{environment::EnvironmentObject, filter::TimeRange, metrics::range_of},
    related::answer,
    scalars::{DateTime, Long},
};

/// The caller.
pub(crate) struct Viewer;

/// The authenticated caller.
#[Object]
impl Viewer {
    /// What sort of credential is in use.
    async fn kind(&self, ctx: &Context<'_>) -> PrincipalKind {
        match asking(ctx).actor.kind {
            ActorKind::Dev => PrincipalKind::Anonymous,
            ActorKind::Token => PrincipalKind::User,
            ActorKind::SigningKey | ActorKind::EventKey | ActorKind::System => PrincipalKind::Key,
        }
    }

    /// Who that is in the words of the issuer of its token; null without a token.
    async fn subject(&self, ctx: &Context<'_>) -> Option<String> {
        asking(ctx).actor.subject.as_deref().map(str::to_owned)
    }

    /// Organization the credential acts in.
    async fn organization(&self) -> OrganizationObject {
        OrganizationObject
    }

    /// Environment the credential acts in.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// Role that the token gives; null without a token.
    async fn role(&self, ctx: &Context<'_>) -> Option<RoleEnum> {
        asking(ctx).actor.role.map(RoleEnum::from)
    }

    /// What the credential may do there.
    async fn permissions(&self, ctx: &Context<'_>) -> Vec<Permission> {
        let actor = &asking(ctx).actor;
        let may = |permission: &Permission| actor.require(permission.scope()).is_ok();
        Permission::ALL.into_iter().filter(may).collect()
    }

    /// When the credential expires; null when it does not.
    async fn expires_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        asking(ctx).actor.expires_at.map(DateTime)
    }
}

/// Sort of credential.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalKind {
    /// A person or a program with a token.
    User,
    /// A program with a key of the server.
    Key,
    /// Dev mode without authentication.
    Anonymous,
}

/// Named set of permissions; each role includes the ones below it.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "Role", remote = "Role")]
pub(crate) enum RoleEnum {
    /// Whatever there is.
    Owner,
    /// Adds and removes apps, and everything below.
    Admin,
    /// Sends events, starts, cancels and reruns runs, pauses functions, and everything below.
    Member,
    /// Read only.
    Viewer,
}

/// Single permission.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// See apps and functions.
    AppsRead,
    /// Sync and remove apps.
    AppsManage,
    /// See events.
    EventsRead,
    /// Send events and start functions.
    EventsSend,
    /// See runs and steps.
    RunsRead,
    /// Cancel and repeat runs, send signals.
    RunsManage,
    /// See figures over time.
    MetricsRead,
    /// Pause and resume functions.
    FunctionsManage,
    /// Report steps and read the state of a run, as an app does.
    Execute,
}

impl Permission {
    const ALL: [Self; 9] = [
        Self::AppsRead,
        Self::AppsManage,
        Self::EventsRead,
        Self::EventsSend,
        Self::RunsRead,
        Self::RunsManage,
        Self::MetricsRead,
        Self::FunctionsManage,
        Self::Execute,
    ];

    fn scope(self) -> Scope {
        match self {
            Self::AppsRead => Scope::AppsRead,
            Self::AppsManage => Scope::AppsWrite,
            Self::EventsRead => Scope::EventsRead,
            Self::EventsSend => Scope::EventsSend,
            Self::RunsRead => Scope::RunsRead,
            Self::RunsManage => Scope::RunsWrite,
            Self::MetricsRead => Scope::MetricsRead,
            Self::FunctionsManage => Scope::FunctionsWrite,
            Self::Execute => Scope::Execute,
        }
    }
}

/// The organization of the caller.
pub(crate) struct OrganizationObject;

/// A tenant; nothing is shared between organizations.
#[Object(name = "Organization")]
impl OrganizationObject {
    /// Global id, prefix org.
    pub(crate) async fn id(&self, ctx: &Context<'_>) -> ID {
        asking(ctx).actor.org.global()
    }

    /// Environments that the credential acts in: one.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn environments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<EnvironmentObject, Counted>, Error> {
        let own = EnvironmentObject::of(asking(ctx));
        connection::cut_counted(
            vec![own],
            "environments.slug",
            &connection::request(ctx, first, after, last, before)?,
            |environment| environment.slug_text().to_owned(),
            |environment| environment,
        )
    }

    /// One environment by slug.
    async fn environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Unique name within the organization.")] slug: String,
    ) -> Option<EnvironmentObject> {
        let own = EnvironmentObject::of(asking(ctx));
        (own.slug_text() == slug).then_some(own)
    }

    /// Consumption in a time range, of the environments that the credential acts in.
    #[graphql(complexity = "100 + child_complexity")]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; widened to whole buckets.")] range: TimeRange,
    ) -> Option<Result<OrganizationUsage, Error>> {
        let found = answer(ctx, UsageIn(range_of(&range, None))).await;
        Some(found.map(OrganizationUsage::from))
    }
}

/// Consumption of one organization in a time range, as it was counted when it happened.
#[derive(SimpleObject)]
pub(crate) struct OrganizationUsage {
    /// Events received, without those that the server produced.
    events: Long,
    /// Runs started.
    runs: Long,
    /// Steps that ended.
    steps: Long,
    /// Most jobs under way at the same time in any one of the environments, sampled every ten seconds.
    peak_concurrency: i32,
}

impl From<Usage> for OrganizationUsage {
    fn from(usage: Usage) -> Self {
        Self {
            events: Long(usage.events),
            runs: Long(usage.runs),
            steps: Long(usage.steps),
            peak_concurrency: i32::try_from(usage.peak).unwrap_or(i32::MAX),
        }
    }
}
