//! How a log line looks: flat JSON for programs, words and `name=value` for people. Either is one line, whatever its values hold.
//!
//! A line has the fields of its event and those of the spans around it, each name once; the innermost wins. For people the ids of spans
//! are left out where nothing is wrong, because the message says what happened.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::Context,
    registry::LookupSpan,
};

/// Longest value of one field in bytes; what is longer is cut off.
const MAX_VALUE: usize = 2_048;

/// For whom lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object each.
    Json,
    /// For people, perhaps in colour.
    Text { colour: bool },
}

/// Makes lines and hands them to `write`, which must not wait.
pub(crate) struct LogLines<W> {
    form: Form,
    write: W,
}

impl<W: Fn(String)> LogLines<W> {
    pub(crate) fn new(form: Form, write: W) -> Self {
        Self { form, write }
    }

    fn line(&self, metadata: &Metadata<'_>, fields: &[Named]) -> String {
        let mut line = String::with_capacity(512);
        // A string takes everything.
        let _ = match self.form {
            Form::Json => json_line(&mut line, metadata, fields),
            Form::Text { colour } => text_line(&mut line, metadata, fields, colour),
        };
        line.push('\n');
        line
    }
}

impl<S, W> Layer<S> for LogLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(String) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_calm = *event.metadata().level() == Level::INFO;
        if self.form == Form::Json || !is_calm {
            for span in context.event_scope(event).into_iter().flatten() {
                let extensions = span.extensions();
                let of_span = extensions.get::<Fields>();
                for (name, value) in of_span.iter().flat_map(|of_span| &of_span.0) {
                    fields.add(name, || value.clone());
                }
            }
        }
        (self.write)(self.line(event.metadata(), &fields.0));
    }
}

type Named = (&'static str, Value);

#[derive(Clone)]
enum Value {
    Text(String),
    /// A number or a truth value, which needs no quotes.
    Plain(String),
}

#[derive(Default)]
struct Fields(Vec<Named>);

impl Fields {
    fn add(&mut self, name: &'static str, value: impl FnOnce() -> Value) {
        // What is meant for traces is not for the log; nor is where a library's own logging was called.
        let is_meant =
            !name.starts_with("otel.") && (name == "log.target" || !name.starts_with("log."));
        if is_meant && !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, value()));
        }
    }

    fn add_plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.add(field.name(), || Value::Plain(value.to_string()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), || {
            let mut text = Bounded(String::new());
            // It refuses what goes beyond its bound.
            let _ = write!(text, "{value:?}");
            Value::Text(text.0)
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), || {
            let mut text = Bounded(String::new());
            let _ = text.write_str(value);
            Value::Text(text.0)
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.add_plain(field, value);
        } else {
            self.record_debug(field, &value);
        }
    }
}

/// A text that ends in an ellipsis where it would grow too long.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = MAX_VALUE.saturating_sub(self.0.len());
        if more.len() <= room {
            self.0.push_str(more);
            return Ok(());
        }
        let mut end = room;
        while !more.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push_str(&more[..end]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn json_line(line: &mut String, metadata: &Metadata<'_>, fields: &[Named]) -> fmt::Result {
    line.push_str("{\"timestamp\":\"");
    SystemTime.format_time(&mut Writer::new(line))?;
    write!(line, "\",\"level\":\"{}\",\"message\":\"", metadata.level())?;
    escape(line, message(fields));
    line.push_str("\",\"target\":\"");
    escape(line, metadata.target());
    line.push('"');
    for (name, value) in fields.iter().filter(|(name, _)| *name != MESSAGE) {
        line.push_str(",\"");
        escape(line, name);
        line.push_str("\":");
        match value {
            Value::Plain(text) => line.push_str(text),
            Value::Text(text) => {
                line.push('"');
                escape(line, text);
                line.push('"');
            }
        }
    }
    line.push('}');
    Ok(())
}

fn text_line(
    line: &mut String,
    metadata: &Metadata<'_>,
    fields: &[Named],
    colour: bool,
) -> fmt::Result {
    let (dim, plain) = if colour {
        ("\x1b[2m", "\x1b[0m")
    } else {
        ("", "")
    };
    let of_level = match *metadata.level() {
        _ if !colour => "",
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    };
    line.push_str(dim);
    SystemTime.format_time(&mut Writer::new(line))?;
    write!(line, "{plain} {of_level}{:>5}{plain} ", metadata.level())?;
    escape(line, message(fields));
    for (name, value) in fields.iter().filter(|(name, _)| *name != MESSAGE) {
        let (Value::Text(text) | Value::Plain(text)) = value;
        write!(line, " {dim}{name}={plain}")?;
        if text.is_empty() || text.contains([' ', '=', '"']) {
            line.push('"');
            escape(line, text);
            line.push('"');
        } else {
            escape(line, text);
        }
    }
    Ok(())
}

const MESSAGE: &str = "message";

fn message(fields: &[Named]) -> &str {
    let found = fields.iter().find(|(name, _)| *name == MESSAGE);
    found.map_or("", |(_, Value::Text(text) | Value::Plain(text))| text)
}

/// Writes text so that it is inside JSON quotes what it was, and cannot begin a line, move a cursor or turn the direction of writing.
fn escape(line: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(must_be_escaped) {
        line.push_str(&rest[..at]);
        let Some(letter) = rest[at..].chars().next() else {
            break;
        };
        match letter {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            _ => {
                let _ = write!(line, "\\u{:04x}", u32::from(letter));
            }
        }
        rest = &rest[at + letter.len_utf8()..];
    }
    line.push_str(rest);
}

/// Quotes, control characters, and what breaks lines or changes the direction of writing; all of it below U+10000.
fn must_be_escaped(letter: char) -> bool {
    letter == '"'
        || letter == '\\'
        || letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Span, debug_span, error, info, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The lines that `log` brings about.
    fn lines(form: Form, log: impl FnOnce()) -> Vec<String> {
        let written: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = written.clone();
        let layer = LogLines::new(form, move |line| sink.lock().unwrap().push(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let lines = written.lock().unwrap().clone();
        for line in &lines {
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        }
        lines
    }

    const PLAIN: Form = Form::Text { colour: false };

    #[test]
    fn json_line_is_flat_and_has_each_name_once_the_innermost_wins() {
        let lines = lines(Form::Json, || {
            let outer = info_span!(
                "a",
                run.id = "outer",
                env.id = "e",
                org.id = tracing::field::Empty,
                otel.name = "x"
            );
            outer.in_scope(|| {
                Span::current().record("org.id", "o");
                info_span!("b", run.id = "inner").in_scope(|| {
                    info!(
                        attempt = 2,
                        late = true,
                        duration_ms = 1.5,
                        "run \"x\" completed"
                    );
                });
            });
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let mut line = line.as_object().unwrap().clone();
        assert!(
            line.remove("timestamp")
                .unwrap()
                .as_str()
                .unwrap()
                .ends_with('Z')
        );
        let expected = serde_json::json!({
            "level": "INFO", "message": "run \"x\" completed", "target": "inngest::log_line::tests",
            "attempt": 2, "late": true, "duration_ms": 1.5, "run.id": "inner", "env.id": "e", "org.id": "o",
        });
        assert_eq!(serde_json::Value::Object(line), expected);
        assert_eq!(lines[0].matches("run.id").count(), 1);
    }

    #[test]
    fn whatever_a_value_holds_it_stays_one_line_and_bounded() {
        let hostile = "a\r\nb\u{1b}[31m\u{2028}\u{202e}\u{85}\"\\\0é😀";
        let long = "é".repeat(100_000);
        for form in [Form::Json, PLAIN] {
            let lines = lines(form, || {
                let text = format!("{hostile}{hostile}");
                error!(event.name = hostile, function.slug = %long, error = ?long, "{text}");
            });
            let line = &lines[0];
            assert!(
                !line.contains(['\r', '\u{1b}', '\u{2028}', '\u{202e}', '\u{85}', '\0']),
                "{line}"
            );
            assert!(line.len() < 3 * MAX_VALUE, "{}", line.len());
            if form == Form::Json {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["event.name"], hostile);
                assert_eq!(line["message"], format!("{hostile}{hostile}"));
            }
        }
    }

    #[test]
    fn people_see_the_ids_around_a_line_where_something_is_wrong() {
        let lines = lines(PLAIN, || {
            debug_span!("job", job.id = "j").in_scope(|| {
                info!(run.id = "r", reason = "two words", "run failed");
                error!(error = "e", "work lost");
            });
        });
        assert!(
            lines[0].ends_with("  INFO run failed run.id=r reason=\"two words\"\n"),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].ends_with(" ERROR work lost error=e job.id=j\n"),
            "{}",
            lines[1]
        );
    }
}
