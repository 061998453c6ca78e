//! Writes the first inputs of every target: the recorded messages of SDKs, framed as the target reads them.

use std::{fs, io, path::Path};

use serde_json::Value;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = root.join("../crates/inngest-core/src/wire/golden");
    for entry in fs::read_dir(golden)? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let Ok(message) = serde_json::from_slice::<Value>(&fs::read(&path)?) else {
            continue;
        };
        let body = match &message["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let (target, head) = if name.contains("_register") || name.contains("_put_") {
            ("registration", String::new())
        } else if name.contains("_reply_") {
            ("replies", head_of(&message))
        } else if name.contains("_checkpoint_") {
            ("checkpoint", String::new())
        } else if name.contains("_event") {
            ("events", "0".to_owned())
        } else {
            continue;
        };
        write(root, target, name, &(head + &body))?;
    }
    for (number, text) in EXPRESSIONS.iter().enumerate() {
        let input = format!(
            "{text}\n{{\"data\":{{\"a\":1,\"b\":[\"x\"],\"c\":{{\"a\":true}}}}}}\n{{\"data\":{{\"a\":1.5}}}}"
        );
        write(root, "expressions", &number.to_string(), &input)?;
    }
    for (number, text) in CRONS.iter().enumerate() {
        write(
            root,
            "cron",
            &number.to_string(),
            &format!("12345678{text}"),
        )?;
    }
    for (number, text) in HEADERS.iter().enumerate() {
        write(root, "headers", &number.to_string(), text)?;
    }
    Ok(())
}

/// One byte for the status, one for the headers; see the target.
fn head_of(message: &Value) -> String {
    let status = match message["status"].as_u64() {
        Some(201) => '1',
        Some(206) => '2',
        Some(400) => '3',
        Some(500) => '4',
        _ => '0',
    };
    format!("{status}?")
}

fn write(root: &Path, target: &str, name: &str, input: &str) -> io::Result<()> {
    let folder = root.join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{name}")), input)
}

const EXPRESSIONS: [&str; 12] = [
    "event.data.a == async.data.a",
    "event.data.a == 1 && async.data.b == 'x' || !has(event.data.c)",
    "event.data.b.exists(v, v == 'x') ? 1u : -2",
    "size(event.data.b) + int('3') * 2.5 % 3 >= 1e3",
    "event.data['c'][\"a\"] in [1, true, null, b'x', {'k': 1}]",
    "event.data.b[0].matches('^x+$') && string(event.data.a).startsWith('1')",
    "timestamp('2026-08-01T00:00:00Z').getHours() == 0 && duration('1h') < duration('90m')",
    "now() > now_minus('1h') && date('2026-08-01') < now_plus('1d')",
    "lowercase(uppercase('é')) == 'é' && b64decode('eA==') == 'x'",
    "json_parse('{\"a\":[1]}').a.all(v, v > 0)",
    "event.data.b.map(v, v + '!').filter(v, v.contains('!')).size() == 1",
    "event.data.concurrency + '-' + string(event.ts)",
];

const CRONS: [&str; 10] = [
    "* * * * *",
    "*/5 0-23/2 1,15 * MON-FRI",
    "TZ=Europe/Berlin 30 2 * 3 SUN",
    "CRON_TZ=America/New_York 30 1 1 NOV ?",
    "0 0 29 2 *",
    "0 0 30 2 *",
    "59 23 31 12 7",
    "TZ=Pacific/Apia 0 0 30 12 *",
    "TZ=Australia/Lord_Howe 15 2 * * 0",
    "@daily",
];

const HEADERS: [&str; 8] = [
    "t=1700000000&s=00ff\n30\n1700000000000,AAECAwQFBgcICQ==\nBearer signkey-test-00ff\n{}",
    "t=-1&s=\n2026-08-01T09:00:00.000Z\n0,AAECAwQFBgcICQ==\nbearer x\n",
    "s=00&t=1&t=2\nSat, 01 Aug 2026 09:00:00 GMT\n281474976710656,AAECAwQFBgcICQ==\nBasic x\n1",
    "t=9223372036854775807&s=00\nSaturday, 01-Aug-26 09:00:00 GMT\n1,!!\nBearer undefined\n[]",
    "&&==\nSat Aug  1 09:00:00 2026\n,\n\n",
    "t=1&s=0\n99999999\n1\nBearer \n",
    "\n-5\n\nsignkey-prod-ff\n",
    "t=1\n1h30m\n1700000000000,\nBearer 00ff\nnull",
];
