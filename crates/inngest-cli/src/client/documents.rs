//! What the command line asks of a server, word for word. A server that takes known documents only knows these ([`ALL`]).

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document {
    /// The name of the operation, for logs.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
}

macro_rules! documents {
    ($($constant:ident: $name:literal in $file:literal,)*) => {
        $(pub(crate) const $constant: Document = Document {
            name: $name,
            text: include_str!(concat!("documents/", $file, ".graphql")),
        };)*

        /// All of them.
        pub(crate) const ALL: &[Document] = &[$($constant),*];
    };
}

documents! {
    ENVIRONMENT: "Environment" in "environment",
    LIST_RUNS: "ListRuns" in "list_runs",
    GET_RUN: "GetRun" in "get_run",
    WATCH_RUN: "WatchRun" in "watch_run",
    WATCH_RUNS: "WatchRuns" in "watch_runs",
    CANCEL_RUN: "CancelRun" in "cancel_run",
    RERUN_RUN: "RerunRun" in "rerun_run",
    CANCEL_RUNS: "CancelRuns" in "cancel_runs",
    CREATE_REPLAY: "CreateReplay" in "create_replay",
    GET_BULK_OPERATION: "GetBulkOperation" in "get_bulk_operation",
    SEND_SIGNAL: "SendSignal" in "send_signal",
    LIST_EVENTS: "ListEvents" in "list_events",
    GET_EVENT: "GetEvent" in "get_event",
    SEND_EVENTS: "SendEvents" in "send_events",
    LIST_FUNCTIONS: "ListFunctions" in "list_functions",
    FIND_FUNCTION: "FindFunction" in "find_function",
    GET_FUNCTION: "GetFunction" in "get_function",
    INVOKE_FUNCTION: "InvokeFunction" in "invoke_function",
    PAUSE_FUNCTION: "PauseFunction" in "pause_function",
    RESUME_FUNCTION: "ResumeFunction" in "resume_function",
    LIST_APPS: "ListApps" in "list_apps",
    FIND_APP: "FindApp" in "find_app",
    GET_APP: "GetApp" in "get_app",
    SYNC_APP: "SyncApp" in "sync_app",
    REMOVE_APP: "RemoveApp" in "remove_app",
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
