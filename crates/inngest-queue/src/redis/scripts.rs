//! The scripts: each is one atomic operation, and each begins with the same prelude.

use std::sync::Arc;

use inngest_core::{ids::FunctionId, job::Work, time::Timestamp};
use redis::{Script, ScriptInvocation, Value};
use uuid::Uuid;

use crate::{
    error::Error,
    redis::{codec, conn::Connection},
};

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        /// Every script, with the digest by which Redis knows it.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                let prelude = include_str!("lua/lib.lua");
                Self {
                    $($name: Script::new(&format!(
                        "{prelude}\n{}",
                        include_str!(concat!("lua/", stringify!($name), ".lua"))
                    )),)*
                }
            }
        }
    };
}

scripts!(
    enqueue,
    remove,
    places,
    lease,
    extend,
    settle,
    limits,
    stats,
    presence,
    begin_rebuild,
    advance_rebuild,
    restore,
    release,
    charge,
);

/// What a script is given, in order.
pub(super) struct Args<'a>(ScriptInvocation<'a>);

impl<'a> Args<'a> {
    pub(super) fn of(script: &'a Script, generation: &str) -> Self {
        let mut invocation = script.prepare_invoke();
        invocation.key(generation);
        Self(invocation)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.arg(text);
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.arg(bytes);
        self
    }

    pub(super) fn number(mut self, number: impl Into<i128>) -> Self {
        let number: i128 = number.into();
        self.0.arg(number.to_string());
        self
    }

    pub(super) fn count(mut self, count: usize) -> Self {
        self.0.arg(count);
        self
    }

    pub(super) fn time(self, time: Timestamp) -> Self {
        self.number(time.as_millis())
    }

    pub(super) fn function(mut self, function: FunctionId) -> Self {
        self.0.arg(function.raw().as_bytes().as_slice());
        self
    }

    /// Id, epoch, function, whether it calls the app, rank, due, fixed, other.
    pub(super) fn row(self, work: &Work) -> Self {
        let (fixed, other) = codec::encode(work);
        self.bytes(work.id.raw().as_bytes())
            .number(work.epoch)
            .function(work.function)
            .text(if work.kind.calls_app() { "1" } else { "0" })
            // Scores are floating-point numbers, exact up to here.
            .number(work.rank.clamp(-(1 << 53), 1 << 53))
            .time(work.due_at)
            .bytes(&fixed)
            .bytes(&other)
    }

    pub(super) fn rows(self, work: &[Work]) -> Self {
        work.iter().fold(self.count(work.len()), Self::row)
    }

    pub(super) async fn run(self, connection: &Arc<Connection>) -> Result<Answer, Error> {
        match connection.run(&self.0).await? {
            Value::Array(values) => Ok(Answer(values.into_iter())),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> Error {
    Error::Unavailable {
        reason: "unexpected answer",
    }
}

/// What a script returns, read from the front.
pub(super) struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes()),
            Some(Value::Int(number)) => Ok(number.to_string().into_bytes()),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?).map_err(|_| unexpected())
    }

    pub(super) fn number(&mut self) -> Result<u64, Error> {
        self.text()?.parse().map_err(|_| unexpected())
    }

    pub(super) fn size(&mut self) -> Result<usize, Error> {
        self.text()?.parse().map_err(|_| unexpected())
    }

    pub(super) fn signed(&mut self) -> Result<i64, Error> {
        self.text()?.parse().map_err(|_| unexpected())
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, Error> {
        Uuid::from_slice(&self.bytes()?).map_err(|_| unexpected())
    }

    /// A number, or nothing.
    pub(super) fn optional(&mut self) -> Result<Option<u64>, Error> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| unexpected())
    }

    /// A time, or nothing.
    pub(super) fn time(&mut self) -> Result<Option<Timestamp>, Error> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let millis = text.parse().map_err(|_| unexpected())?;
        Ok(Some(Timestamp::from_millis(millis)))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.bytes()? == b"1")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
