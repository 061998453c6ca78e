//! Where traces are sent: the standard variables of OpenTelemetry, read here so that nothing else reads the environment.

use std::{collections::BTreeMap, time::Duration};

use crate::{problem::Problem, secret::Secret};

/// Where traces are sent, and which. OTLP by HTTP, in protobuf.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// The URL to which spans are posted; it may hold a password.
    pub endpoint: Secret<String>,
    /// Sent with each of these requests; the values are often secrets.
    pub headers: Vec<(String, Secret<String>)>,
    /// Longest such request. Default 10 s.
    pub timeout: Duration,
    /// Whether they are compressed by gzip.
    pub compresses: bool,
    /// What the server is called there. Default `inngest`.
    pub service_name: String,
    /// What else is said of it.
    pub attributes: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// Spans that may wait to be sent; beyond it they are dropped. Default 2048.
    pub queue: usize,
    /// Most spans of one request. Default 512.
    pub batch: usize,
    /// Longest wait of a span before it is sent. Default 5 s.
    pub delay: Duration,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Of those that begin here, which part: 0 none, 1 all.
    pub ratio: f64,
    /// Whether a trace that was begun elsewhere is recorded if it is recorded there. Otherwise the ratio counts for all.
    pub follows_parent: bool,
}

const PREFIX: &str = "OTEL_";

/// What is read.
const KNOWN: [&str; 21] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PROPAGATORS",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
];

/// Reads the variables. `None` when traces are not sent: nobody named a place for them, or somebody turned them off.
pub(crate) fn traces(
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<TraceSettings> {
    let mut reader = Reader {
        environment,
        problems,
    };
    if reader.is_off() {
        return None;
    }
    let endpoint = reader.endpoint()?;
    reader.check_protocol();
    let batch = reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512);
    let queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048);
    let export_timeout = reader.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000);
    let timeout = match reader.of_signal("TIMEOUT") {
        Some((name, _)) => reader.number(name, 10_000),
        None => 10_000,
    };
    let delay = reader.number("OTEL_BSP_SCHEDULE_DELAY", 5_000);
    let settings = TraceSettings {
        endpoint: Secret::new(endpoint),
        headers: reader.headers(),
        timeout: Duration::from_millis(timeout.min(export_timeout)),
        compresses: reader.compresses(),
        service_name: reader.service_name(),
        attributes: reader.pairs("OTEL_RESOURCE_ATTRIBUTES"),
        sampler: reader.sampler(),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
        batch: usize::try_from(batch.min(queue)).unwrap_or(usize::MAX),
        delay: Duration::from_millis(delay),
    };
    warnings.extend(without_effect(environment));
    Some(settings)
}

/// Variables about traces that somebody set and nobody reads.
fn without_effect(environment: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    let about_traces = [
        "OTEL_EXPORTER_OTLP_",
        "OTEL_BSP_",
        "OTEL_SPAN_",
        "OTEL_TRACES_",
    ];
    let names = environment.keys().filter(move |name| {
        about_traces.iter().any(|about| name.starts_with(about))
            && !name.contains("_METRICS_")
            && !name.contains("_LOGS_")
            && !KNOWN.contains(&name.as_str())
    });
    names.map(|name| format!("variable {name} has no effect on traces of this server"))
}

struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// An empty variable counts as not set.
    fn text(&self, name: &str) -> Option<&'a str> {
        debug_assert!(
            KNOWN.contains(&name) && name.starts_with(PREFIX),
            "{name} is listed"
        );
        let text = self.environment.get(name)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The variable for traces alone, or the one for every kind of telemetry.
    fn of_signal(&self, what: &str) -> Option<(&'static str, &'a str)> {
        let named = |middle: &str| {
            let name = format!("OTEL_EXPORTER_OTLP_{middle}{what}");
            let name = KNOWN.iter().find(|known| **known == name)?;
            Some((*name, self.text(name)?))
        };
        named("TRACES_").or_else(|| named(""))
    }

    fn refuse(&mut self, name: &str, message: String) {
        self.problems.push(Problem::new(name, message));
    }

    fn is_off(&mut self) -> bool {
        let is_disabled = self
            .text("OTEL_SDK_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        match self.text("OTEL_TRACES_EXPORTER") {
            _ if is_disabled => true,
            None | Some("otlp") => false,
            Some("none") => true,
            Some(other) => {
                self.refuse(
                    "OTEL_TRACES_EXPORTER",
                    format!("is `{other}`, which is none of otlp, none"),
                );
                true
            }
        }
    }

    fn endpoint(&mut self) -> Option<String> {
        let (name, url) = match self.of_signal("ENDPOINT") {
            Some((name, url)) if name.contains("TRACES") => (name, url.to_owned()),
            Some((name, url)) => (name, format!("{}/v1/traces", url.trim_end_matches('/'))),
            // Asked for by name, so at the place that the standard names.
            None => {
                let exporter = "OTEL_TRACES_EXPORTER";
                self.text(exporter)?;
                (exporter, "http://localhost:4318/v1/traces".to_owned())
            }
        };
        let is_url = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']))
        });
        if !is_url || url.contains(char::is_whitespace) {
            // It may hold a password.
            self.refuse(
                name,
                "is not a URL such as http://localhost:4318".to_owned(),
            );
        }
        Some(url)
    }

    fn check_protocol(&mut self) {
        if let Some((name, protocol)) = self.of_signal("PROTOCOL")
            && protocol != "http/protobuf"
        {
            self.refuse(
                name,
                format!("is `{protocol}`, but this server sends traces by http/protobuf only, usually to port 4318"),
            );
        }
        if let Some(propagators) = self.text("OTEL_PROPAGATORS") {
            let is_there = propagators
                .split(',')
                .any(|name| name.trim() == "tracecontext");
            if !is_there {
                self.refuse(
                    "OTEL_PROPAGATORS",
                    format!("is `{propagators}`, but this server knows tracecontext only"),
                );
            }
        }
    }

    fn compresses(&mut self) -> bool {
        match self.of_signal("COMPRESSION") {
            Some((_, "gzip")) => true,
            None | Some((_, "none")) => false,
            Some((name, other)) => {
                self.refuse(name, format!("is `{other}`, which is none of gzip, none"));
                false
            }
        }
    }

    fn headers(&mut self) -> Vec<(String, Secret<String>)> {
        let Some((name, _)) = self.of_signal("HEADERS") else {
            return Vec::new();
        };
        let pairs = self.pairs(name).into_iter();
        pairs
            .map(|(name, value)| (name, Secret::new(value)))
            .collect()
    }

    fn service_name(&mut self) -> String {
        let named = self.text("OTEL_SERVICE_NAME").map(str::to_owned);
        let attributes = self.pairs("OTEL_RESOURCE_ATTRIBUTES");
        let mut latest_first = attributes.into_iter().rev();
        let attribute = latest_first.find(|(key, _)| key == "service.name");
        named
            .or_else(|| attribute.map(|(_, value)| value))
            .unwrap_or_else(|| "inngest".to_owned())
    }

    /// `a=b,c=d` with percent-encoded values, as in the standard. The message does not show them, as they may be secrets.
    fn pairs(&mut self, name: &'static str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for part in self.text(name).unwrap_or_default().split(',') {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let pair = part.split_once('=').and_then(|(key, value)| {
                let key = key.trim();
                (!key.is_empty()).then(|| Some((key.to_owned(), decode(value.trim())?)))?
            });
            match pair {
                Some(pair) => pairs.push(pair),
                None => {
                    let message = "must be a list such as name=value,other=value, with values in percent-encoding";
                    self.problems.push(Problem::new(name, message));
                    return Vec::new();
                }
            }
        }
        pairs
    }

    fn sampler(&mut self) -> Sampler {
        let ratio = match self.text("OTEL_TRACES_SAMPLER_ARG") {
            None => 1.0,
            Some(text) => match text.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => {
                    self.refuse(
                        "OTEL_TRACES_SAMPLER_ARG",
                        format!("is `{text}`, but must be a number from 0 to 1"),
                    );
                    1.0
                }
            },
        };
        let name = self.text("OTEL_TRACES_SAMPLER");
        let name = name.unwrap_or("parentbased_always_on");
        let own = name.strip_prefix("parentbased_").unwrap_or(name);
        let ratio = match own {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio,
            _ => {
                self.refuse(
                    "OTEL_TRACES_SAMPLER",
                    format!("is `{name}`, which is none of always_on, always_off, traceidratio, or one of these after parentbased_"),
                );
                1.0
            }
        };
        Sampler {
            ratio,
            follows_parent: own != name,
        }
    }

    fn number(&mut self, name: &'static str, default: u64) -> u64 {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse() {
            Ok(number) if (1..=3_600_000).contains(&number) => number,
            _ => {
                self.refuse(
                    name,
                    format!("is `{text}`, but must be a whole number from 1 to 3600000"),
                );
                default
            }
        }
    }
}

/// Percent-decoding. `None` when it is none, or gives no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                let digits = std::str::from_utf8(&digits).ok().filter(|_| is_hex)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> (Option<TraceSettings>, Vec<String>, Vec<String>) {
        let text = |text: &&str| (*text).to_owned();
        let environment = set.iter().map(|(name, value)| (text(name), text(value)));
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let settings = traces(&environment.collect(), &mut problems, &mut warnings);
        let problems = problems.iter().map(ToString::to_string).collect();
        (settings, problems, warnings)
    }

    #[test]
    fn nothing_is_sent_unless_a_place_is_named() {
        for set in [
            &[][..],
            &[
                ("OTEL_SERVICE_NAME", "x"),
                ("OTEL_TRACES_SAMPLER", "always_on"),
            ],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
                ("OTEL_SDK_DISABLED", "TRUE"),
            ],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
                ("OTEL_TRACES_EXPORTER", "none"),
            ],
            &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c")],
        ] {
            assert_eq!(read(set), (None, Vec::new(), Vec::new()), "{set:?}");
        }
        let (settings, ..) = read(&[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(
            settings.unwrap().endpoint.expose(),
            "http://localhost:4318/v1/traces"
        );
    }

    #[test]
    fn defaults_are_those_of_the_standard_and_variables_for_traces_win() {
        let (settings, problems, warnings) =
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318/")]);
        let expected = TraceSettings {
            endpoint: Secret::new("https://c:4318/v1/traces".to_owned()),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compresses: false,
            service_name: "inngest".to_owned(),
            attributes: Vec::new(),
            sampler: Sampler {
                ratio: 1.0,
                follows_parent: true,
            },
            queue: 2_048,
            batch: 512,
            delay: Duration::from_secs(5),
        };
        assert_eq!(settings, Some(expected.clone()));
        assert!(problems.is_empty() && warnings.is_empty());

        let (settings, problems, warnings) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/exactly"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                "authorization=Basic%20x%3D, b = c=d",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=attribute,region=eu",
            ),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let header = |name: &str, value: &str| (name.to_owned(), Secret::new(value.to_owned()));
        let expected = TraceSettings {
            endpoint: Secret::new("http://c/exactly".to_owned()),
            headers: vec![header("authorization", "Basic x="), header("b", "c=d")],
            timeout: Duration::from_millis(500),
            compresses: true,
            service_name: "attribute".to_owned(),
            attributes: vec![pair("service.name", "attribute"), pair("region", "eu")],
            sampler: Sampler {
                ratio: 0.25,
                follows_parent: false,
            },
            queue: 100,
            batch: 100,
            delay: Duration::from_millis(50),
        };
        assert_eq!(settings, Some(expected));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            warnings,
            ["variable OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT has no effect on traces of this server"]
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_secrets_are_not_shown() {
        for (name, value, message) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf only"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "none of otlp, none"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "secret:4318",
                "is not a URL",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http:///secret",
                "is not a URL",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "must be a list"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%2", "must be a list"),
            (
                "OTEL_EXPORTER_OTLP_COMPRESSION",
                "zstd",
                "none of gzip, none",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "whole number from 1"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", "none of always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "whole number"),
            ("OTEL_PROPAGATORS", "b3", "tracecontext only"),
        ] {
            let (_, problems, _) =
                read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), (name, value)]);
            let [problem] = problems.as_slice() else {
                panic!("{name}: {problems:?}");
            };
            assert!(
                problem.contains(name) && problem.contains(message),
                "{problem}"
            );
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
