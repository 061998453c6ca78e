//! Apps over REST.

use schemars::JsonSchema;
use serde::Deserialize;

use inngest_core::access::Scope;
use inngest_services::AppFilter;

use crate::rest::{
    body::AppBody,
    input::JsonBody,
    operation::{Ask, Head, Operation},
    problem::Refusal,
    query::{Kind, Param},
    reply::{Data, List, NoContent},
};

const LIST: &[Param] = &[
    Param::one("limit", Kind::Limit, "Entries of the page."),
    Param::one(
        "cursor",
        Kind::Text,
        "Where to go on: the cursor of the page before.",
    ),
    Param::one(
        "include_archived",
        Kind::Flag,
        "Whether apps that were removed are listed too.",
    ),
    Param::one(
        "name_contains",
        Kind::Text,
        "Only with this in their name, in any letter case.",
    ),
];

/// Operations on apps.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Head::get("listApps", "/apps")
            .needs(Scope::AppsRead)
            .told("apps", "Lists apps by name.")
            .params(LIST)
            .read(list),
        Head::post("syncUrl", "/apps")
            .needs(Scope::AppsWrite)
            .told(
                "apps",
                "Asks the app at a URL which functions it has, and stores them.",
            )
            .write(sync_url),
        Head::get("getApp", "/apps/{app}")
            .needs(Scope::AppsRead)
            .told("apps", "Shows an app.")
            .read(get),
        Head::delete("removeApp", "/apps/{app}")
            .needs(Scope::AppsWrite)
            .told(
                "apps",
                "Removes an app and archives its functions; their runs go on.",
            )
            .read(remove),
        Head::post("syncApp", "/apps/{app}/syncs")
            .needs(Scope::AppsWrite)
            .told(
                "apps",
                "Asks an app again which functions it has, and stores them.",
            )
            .read(sync),
    ]
}

async fn list(ask: Ask) -> Result<List<AppBody>, Refusal> {
    let filter = AppFilter {
        with_archived: ask.params.flag("include_archived").unwrap_or(false),
        name_contains: ask.params.get("name_contains").map(str::to_owned),
    };
    let (page, apps) = (ask.params.page(), ask.services().apps());
    let found = apps.page(&ask.actor, &filter, &page).await?;
    Ok(List::of(&ask, found, |app| AppBody::new(&ask.actor, app)))
}

async fn get(ask: Ask) -> Result<Data<AppBody>, Refusal> {
    let apps = ask.services().apps();
    let app = apps.find(&ask.actor, ask.part("app")).await?;
    Ok(Data(AppBody::new(&ask.actor, &app)))
}

/// The app to ask.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SyncInput")]
pub(crate) struct SyncInput {
    /// Where it is served, for example `http://localhost:3000/api/inngest`.
    url: String,
}

async fn sync_url(ask: Ask, body: JsonBody<SyncInput>) -> Result<Data<AppBody>, Refusal> {
    let apps = ask.services().apps();
    let app = apps.sync_url(&ask.actor, &body.value.url).await?;
    Ok(Data(AppBody::new(&ask.actor, &app)))
}

async fn sync(ask: Ask) -> Result<Data<AppBody>, Refusal> {
    let apps = ask.services().apps();
    let app = apps.sync_again(&ask.actor, ask.part("app")).await?;
    Ok(Data(AppBody::new(&ask.actor, &app)))
}

async fn remove(ask: Ask) -> Result<NoContent, Refusal> {
    let apps = ask.services().apps();
    apps.archive(&ask.actor, ask.part("app")).await?;
    Ok(NoContent)
}
