//! The request of a call (sdk-protocol section 3): canonical bytes put together from canonical parts.

use bytes::Bytes;

use crate::{
    ids::{FunctionId, RunId, StepId},
    json::{Json, write},
    limits,
};

/// Stored state from here on is not sent, but fetched by the app; leaves room for the rest of the body.
const INLINE_STATE_BYTES: usize = limits::CALL_BYTES - 1024;

/// Asks an app for its preferred dialect.
pub const VERSION_UNKNOWN: i32 = -1;

/// What an app is told with a call.
#[derive(Clone, Debug)]
pub struct CallBody<'a> {
    /// The run.
    pub run: RunId,
    /// Its function.
    pub function: FunctionId,
    /// Name of the environment; may be empty.
    pub env: &'a str,
    /// From 0, for each piece of work.
    pub attempt: u32,
    /// Retries and one.
    pub max_attempts: u32,
    /// The app must report steps rather than run them.
    pub force_plan: bool,
    /// Epoch of the work.
    pub generation: i64,
    /// The work; the same for all attempts.
    pub job_id: &'a str,
    /// What a checkpoint gives back to name the work; not empty, or JS apps do not checkpoint.
    pub qi_id: &'a str,
    /// This call.
    pub request_id: &'a str,
    /// Finished steps in the order of their ends.
    pub stack: &'a [StepId],
    /// Trigger events, not empty; each as in `Event::body`.
    pub events: &'a [Json],
    /// Memos of the steps in the stack, in any order, each step once.
    pub memos: &'a [(StepId, Json)],
    /// Live deferred calls and whether they can be taken back.
    pub defers: &'a [(StepId, bool)],
    /// The dialect, [`VERSION_UNKNOWN`] before the first reply.
    pub version: i32,
    /// Whether the SDK can fetch state (the Go SDK cannot, and gets all of it whatever its size).
    pub can_fetch_state: bool,
}

/// How much of a run's state stands in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateMode {
    /// All of it.
    Inline,
    /// The app fetches the memos.
    FetchMemos,
    /// The app fetches memos and events; only the first event is sent.
    FetchAll,
}

/// Chooses what to send. `state` is the size of events and memos together, `events` the size of the events, each in bytes.
pub fn state_mode(state: usize, events: usize, can_fetch: bool) -> StateMode {
    if !can_fetch || state <= INLINE_STATE_BYTES {
        StateMode::Inline
    } else if events <= INLINE_STATE_BYTES / 2 {
        StateMode::FetchMemos
    } else {
        StateMode::FetchAll
    }
}

impl CallBody<'_> {
    /// The canonical bytes, to be signed and sent as they are.
    pub fn to_bytes(&self) -> Bytes {
        let events: usize = self.events.iter().map(Json::len).sum();
        let first = self.events.first().map_or(4, Json::len);
        let memos: usize = self
            .memos
            .iter()
            .map(|(step, memo)| step.as_str().len() + memo.len() + 4)
            .sum();
        // The first event stands in the body twice.
        let mode = state_mode(first + events + memos, first + events, self.can_fetch_state);
        let stack: usize = self.stack.len() * 43;
        let mut out = Vec::with_capacity(
            1024 + stack + first + events + if mode == StateMode::Inline { memos } else { 0 },
        );
        self.write_ctx(&mut out, mode);
        out.extend_from_slice(b",\"defers\":{");
        self.write_defers(&mut out);
        out.extend_from_slice(b"},\"event\":");
        out.extend_from_slice(
            self.events
                .first()
                .map_or(b"null".as_slice(), Json::as_bytes),
        );
        out.extend_from_slice(b",\"events\":[");
        if mode != StateMode::FetchAll {
            for (index, event) in self.events.iter().enumerate() {
                comma(&mut out, index);
                out.extend_from_slice(event.as_bytes());
            }
        }
        out.extend_from_slice(b"],\"steps\":{");
        if mode == StateMode::Inline {
            self.write_memos(&mut out);
        }
        out.extend_from_slice(b"},\"use_api\":");
        write_bool(&mut out, mode != StateMode::Inline);
        out.extend_from_slice(b",\"version\":");
        write::integer(&mut out, self.version.into());
        out.push(b'}');
        Bytes::from(out)
    }

    fn write_ctx(&self, out: &mut Vec<u8>, mode: StateMode) {
        out.extend_from_slice(b"{\"ctx\":{\"attempt\":");
        write::integer(out, self.attempt.into());
        out.extend_from_slice(b",\"disable_immediate_execution\":");
        write_bool(out, self.force_plan);
        write_text(out, ",\"env\":", self.env);
        write_text(out, ",\"fn_id\":", &self.function.to_string());
        out.extend_from_slice(b",\"generation_id\":");
        write::integer(out, self.generation);
        write_text(out, ",\"job_id\":", self.job_id);
        out.extend_from_slice(b",\"max_attempts\":");
        write::integer(out, self.max_attempts.into());
        write_text(out, ",\"qi_id\":", self.qi_id);
        write_text(out, ",\"request_id\":", self.request_id);
        write_text(out, ",\"run_id\":", &self.run.to_string());
        out.extend_from_slice(b",\"stack\":{\"current\":");
        write::integer(out, i64::try_from(self.stack.len()).unwrap_or(i64::MAX));
        out.extend_from_slice(b",\"stack\":[");
        for (index, step) in self.stack.iter().enumerate() {
            comma(out, index);
            write::string(out, step.as_str());
        }
        out.extend_from_slice(b"]},\"step_id\":\"step\",\"use_api\":");
        write_bool(out, mode != StateMode::Inline);
        out.push(b'}');
    }

    fn write_defers(&self, out: &mut Vec<u8>) {
        let mut defers: Vec<&(StepId, bool)> = self.defers.iter().collect();
        defers.sort();
        for (index, (step, is_abortable)) in defers.into_iter().enumerate() {
            comma(out, index);
            write::string(out, step.as_str());
            out.extend_from_slice(b":{\"abortable\":");
            write_bool(out, *is_abortable);
            out.push(b'}');
        }
    }

    fn write_memos(&self, out: &mut Vec<u8>) {
        let mut memos: Vec<&(StepId, Json)> = self.memos.iter().collect();
        // Step ids are ASCII, so this is the canonical order of keys.
        memos.sort_by(|a, b| a.0.cmp(&b.0));
        for (index, (step, memo)) in memos.into_iter().enumerate() {
            comma(out, index);
            write::string(out, step.as_str());
            out.push(b':');
            out.extend_from_slice(memo.as_bytes());
        }
    }
}

fn comma(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn write_text(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(key.as_bytes());
    write::string(out, text);
}

/// The state as apps fetch it when a call says so: `{"<step>": memo, …}`.
pub fn memos_body(memos: &[(StepId, Json)]) -> Json {
    Json::object(memos.iter().map(|(step, memo)| (step.as_str(), memo)))
}

/// Where to call a function: its URL as registered, with `stepId` set to the target, or to `step` for a discovery.
pub fn call_url(registered: &str, target: Option<&StepId>) -> String {
    let url = registered.split('#').next().unwrap_or_default();
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parts: Vec<String> = query
        .split('&')
        .filter(|part| !part.is_empty() && *part != "stepId" && !part.starts_with("stepId="))
        .map(str::to_owned)
        .collect();
    parts.push(format!(
        "stepId={}",
        target.map_or_else(|| "step".to_owned(), |step| encode(step.as_str()))
    ));
    format!("{base}?{}", parts.join("&"))
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> StepId {
        StepId::parse(text).unwrap()
    }

    fn body<'a>(
        events: &'a [Json],
        memos: &'a [(StepId, Json)],
        stack: &'a [StepId],
    ) -> CallBody<'a> {
        CallBody {
            run: "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA".parse().unwrap(),
            function: "5ad06df4-6f2c-4c41-9e7b-0d0f8f1a2b3c".parse().unwrap(),
            env: "",
            attempt: 0,
            max_attempts: 4,
            force_plan: false,
            generation: 1,
            job_id: "j",
            qi_id: "q",
            request_id: "r",
            stack,
            events,
            memos,
            defers: &[],
            version: VERSION_UNKNOWN,
            can_fetch_state: true,
        }
    }

    #[test]
    fn body_is_canonical_and_complete() {
        let events = [Json::parse(
            br#"{"data":{"id":5},"id":"e","name":"order/paid","ts":1785570000000,"user":{}}"#,
        )
        .unwrap()];
        let memos = [
            (step("b"), Json::null()),
            (
                step("a\""),
                Json::parse(br#"{"data":{"ok":true}}"#).unwrap(),
            ),
        ];
        let stack = [step("b"), step("a\"")];
        let mut call = body(&events, &memos, &stack);
        let defers = [(step("z"), true), (step("y"), false)];
        call.defers = &defers;
        let bytes = call.to_bytes();
        assert_eq!(Json::parse(&bytes).unwrap().as_bytes(), bytes, "canonical");
        let expected = r#"{"ctx":{"attempt":0,"disable_immediate_execution":false,"env":"","fn_id":"5ad06df4-6f2c-4c41-9e7b-0d0f8f1a2b3c","generation_id":1,"job_id":"j","max_attempts":4,"qi_id":"q","request_id":"r","run_id":"01K3ZC6WQ5M3J6V9Y1Z8T3B2XA","stack":{"current":2,"stack":["b","a\""]},"step_id":"step","use_api":false},"defers":{"y":{"abortable":false},"z":{"abortable":true}},"event":EVENT,"events":[EVENT],"steps":{"a\"":{"data":{"ok":true}},"b":null},"use_api":false,"version":-1}"#;
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            expected.replace("EVENT", events[0].as_str())
        );
    }

    #[test]
    fn large_state_is_left_for_the_app_to_fetch() {
        let large = Json::string(&"x".repeat(limits::CALL_BYTES));
        let small = Json::parse(br#"{"id":"e"}"#).unwrap();
        let memos = [(step("a"), large.clone())];
        let stack = [step("a")];
        let read = |call: &CallBody<'_>| {
            let body = Json::from_canonical(call.to_bytes());
            let use_api = body.member("use_api").unwrap();
            assert_eq!(
                body.member("ctx").unwrap().member("use_api").unwrap(),
                use_api
            );
            let count = |key| {
                body.member(key).unwrap().items().count()
                    + body.member(key).unwrap().members().count()
            };
            (use_api.as_str().to_owned(), count("events"), count("steps"))
        };
        let one = [small.clone()];
        assert_eq!(read(&body(&one, &[], &[])), ("false".to_owned(), 1, 0));
        assert_eq!(read(&body(&one, &memos, &stack)), ("true".to_owned(), 1, 0));
        let two = [small, large];
        assert_eq!(read(&body(&two, &memos, &stack)), ("true".to_owned(), 0, 0));
        let mut go = body(&one, &memos, &stack);
        go.can_fetch_state = false;
        assert_eq!(read(&go), ("false".to_owned(), 1, 1));
    }

    #[test]
    fn url_keeps_its_query_and_names_the_step() {
        let target = step("a/b");
        for (registered, target, expected) in [
            (
                "http://a/api?fnId=f&stepId=step",
                None,
                "http://a/api?fnId=f&stepId=step",
            ),
            (
                "http://a/api?stepId=step&fnId=f&x=1",
                Some(&target),
                "http://a/api?fnId=f&x=1&stepId=a%2Fb",
            ),
            (
                "http://a/api?fnId=f&step=step",
                None,
                "http://a/api?fnId=f&step=step&stepId=step",
            ),
            ("http://a/api", None, "http://a/api?stepId=step"),
            ("http://a/api?#top", None, "http://a/api?stepId=step"),
        ] {
            assert_eq!(call_url(registered, target), expected);
        }
    }
}
