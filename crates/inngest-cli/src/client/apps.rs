//! `inngest apps`.

use serde_json::json;

use crate::client::{
    args::AppsVerb,
    ask,
    connection::Server,
    documents,
    failure::{Exit, Failure},
    output::{Column, Output},
};

/// An app in a list.
pub(super) const LIST: &[Column] = &[
    ("APP", "/externalId"),
    ("URL", "/url"),
    ("SDK", "/sdkLanguage"),
    ("VERSION", "/sdkVersion"),
    ("FRAMEWORK", "/framework"),
    ("FUNCTIONS", "/functionCount"),
    ("STATUS", "/status"),
    ("ERROR", "/lastError"),
];
/// One app.
pub(super) const FACTS: &[Column] = &[
    ("App", "/externalId"),
    ("Name", "/name"),
    ("Id", "/appId"),
    ("URL", "/url"),
    ("SDK", "/sdkLanguage"),
    ("SDK version", "/sdkVersion"),
    ("Framework", "/framework"),
    ("Platform", "/platform"),
    ("Version", "/appVersion"),
    ("Created", "/createdAt"),
    ("Archived", "/archivedAt"),
    ("Status", "/status"),
    ("Last error", "/lastError"),
];
/// A function of it.
pub(super) const FUNCTIONS: &[Column] = &[("FUNCTION", "/slug"), ("NAME", "/name")];

pub(super) async fn run(server: &Server, output: &Output, verb: &AppsVerb) -> Result<(), Failure> {
    match verb {
        AppsVerb::List {
            name,
            archived,
            list,
        } => {
            let mut filter = json!({"includeArchived": archived});
            if let Some(name) = name {
                filter["nameContains"] = json!(name);
            }
            let path = "/environment/apps";
            let variables = json!({"filter": filter});
            let apps = ask::list(server, documents::LIST_APPS, path, variables, list.limit).await?;
            output.list(&apps, LIST)
        }
        AppsVerb::Get { app } => {
            let id = ask::app_id(server, app).await?;
            let data = server.ask(documents::GET_APP, json!({"id": id})).await?;
            if data["app"].is_null() {
                return Err(Failure::not_found("app", app));
            }
            let functions = [("Functions", "/functions/nodes", FUNCTIONS)];
            output.one(&data["app"], FACTS, &functions)
        }
        AppsVerb::Sync { app } => {
            let target = if app.contains("://") {
                let (environment, _) = ask::environment(server).await?;
                json!({"url": {"environmentId": environment, "url": app}})
            } else {
                json!({"appId": ask::app_id(server, app).await?})
            };
            let input = json!({"target": target});
            let mut payload = ask::change(server, documents::SYNC_APP, input).await?;
            let app = payload["app"].take();
            if app.is_null() {
                let message = "the app answered, but registered nothing with this server";
                return Err(Failure::new(Exit::Failed, message));
            }
            output.list(&[app], LIST)
        }
        AppsVerb::Remove { app } => {
            let input = json!({"appId": ask::app_id(server, app).await?});
            let mut payload = ask::change(server, documents::REMOVE_APP, input).await?;
            output.list(&[payload["app"].take()], LIST)
        }
    }
}
