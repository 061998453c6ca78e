use async_graphql_parser::{
    parse_query,
    types::{DocumentOperations, OperationDefinition, Selection, SelectionSet},
};
use inngest_server::{DocumentMode, Documents};

use super::*;
use crate::client::{apps, bulk, events, functions, output::Column, runs};

fn operation(document: Document) -> OperationDefinition {
    match parse_query(document.text).unwrap().operations {
        DocumentOperations::Single(operation) => operation.node,
        DocumentOperations::Multiple(mut named) => {
            assert_eq!(named.len(), 1, "{}", document.name);
            let named = named.remove(document.name);
            named
                .expect("the operation is named like the document")
                .node
        }
    }
}

#[tokio::test]
async fn documents_fit_the_schema() {
    let mut documents = Documents::new(DocumentMode::Open);
    for document in ALL {
        operation(*document);
        documents.add(document.text);
    }
    assert_eq!(documents.misfits().await, Vec::<String>::new());
    documents.add("query Nonsense { nonsense }");
    assert_eq!(documents.misfits().await.len(), 1);
}

#[test]
fn every_document_file_is_one_of_them() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/documents");
    let files = std::fs::read_dir(directory).unwrap();
    let known: Vec<_> = ALL.iter().map(|document| document.text).collect();
    for file in files {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(known.contains(&text.as_str()), "{}", path.display());
    }
}

fn is_selected(set: &SelectionSet, path: &[&str]) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return true;
    };
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => {
            field.node.response_key().node == *name
                && is_selected(&field.node.selection_set.node, rest)
        }
        Selection::InlineFragment(fragment) => is_selected(&fragment.node.selection_set.node, path),
        Selection::FragmentSpread(_) => false,
    })
}

#[test]
fn columns_show_what_documents_ask_for() {
    let tables: &[(Document, &str, &[Column])] = &[
        (LIST_RUNS, "environment/runs/nodes", runs::LIST),
        (GET_RUN, "run", runs::FACTS),
        (GET_RUN, "run/steps/nodes", runs::STEPS),
        (GET_RUN, "run/waits", runs::WAITS),
        (CANCEL_RUN, "cancelRun/run", runs::CHANGED),
        (RERUN_RUN, "rerunRun/run", runs::CHANGED),
        (SEND_SIGNAL, "sendSignal/run", runs::CHANGED),
        (INVOKE_FUNCTION, "invokeFunction/run", runs::CHANGED),
        (GET_EVENT, "event/runs/nodes", runs::CHANGED),
        (WATCH_RUNS, "runFeed", runs::WATCHED),
        (LIST_EVENTS, "environment/events/nodes", events::LIST),
        (SEND_EVENTS, "sendEvents/events", events::SENT),
        (GET_EVENT, "event", events::FACTS),
        (GET_EVENT, "event/runs/nodes", events::RUNS),
        (
            LIST_FUNCTIONS,
            "environment/functions/nodes",
            functions::LIST,
        ),
        (GET_FUNCTION, "function", functions::FACTS),
        (PAUSE_FUNCTION, "pauseFunction/function", functions::PAUSED),
        (
            RESUME_FUNCTION,
            "resumeFunction/function",
            functions::PAUSED,
        ),
        (CANCEL_RUNS, "cancelRuns/cancellation", bulk::OPERATION),
        (CREATE_REPLAY, "createReplay/replay", bulk::OPERATION),
        (GET_BULK_OPERATION, "node", bulk::OPERATION),
        (LIST_APPS, "environment/apps/nodes", apps::LIST),
        (SYNC_APP, "syncApp/app", apps::LIST),
        (REMOVE_APP, "removeApp/app", apps::LIST),
        (GET_APP, "app", apps::FACTS),
        (GET_APP, "app/functions/nodes", apps::FUNCTIONS),
    ];
    for (document, base, columns) in tables {
        for (title, pointer) in *columns {
            let path = format!("{base}{pointer}");
            let path: Vec<_> = path.split('/').collect();
            let found = is_selected(&operation(*document).selection_set.node, &path);
            assert!(found, "{}: column {title} reads {path:?}", document.name);
        }
    }
}
