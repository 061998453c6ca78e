use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_785_570_000_000);

fn read(body: &str) -> Result<Vec<Event>, InvalidEvents> {
    parse_events(
        body.as_bytes(),
        Some("application/json"),
        None,
        NOW,
        &IdSource::counting(),
    )
}

fn check(body: &str, expected: &str) {
    let events = read(body).unwrap_or_else(|error| panic!("{body}: {error}"));
    let bodies: Vec<String> = events
        .iter()
        .map(|event| event.body.as_str().replace(&event.id.to_string(), "ID"))
        .collect();
    assert_eq!(bodies.join(" "), expected, "{body}");
    for event in events {
        assert_eq!(Json::parse(event.body.as_bytes()).unwrap(), event.body);
    }
}

fn check_bad(body: &str, code: &str, message: &str) {
    let error = read(body).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (code, message),
        "{body}"
    );
}

#[test]
fn events_take_the_form_that_apps_see() {
    let plain = r#"{"data":{},"id":"ID","name":"a","ts":1785570000000,"user":{}}"#;
    check(r#"{"name":"a"}"#, plain);
    check(r#" [{"name":"a"}] "#, plain);
    check(
        r#"{"name":"a","data":null,"id":null,"ts":0,"user":null,"v":null,"meta":null,"extra":1}"#,
        plain,
    );
    check(
        r#"{"name":"a","id":"","v":"","ts":null,"meta":{"other":1}}"#,
        plain,
    );
    check("[]", "");
    check(
        r#"{"v":"1","user":{"b":1,"a":2},"ts":1600000000000,"name":"a","id":"k","data":{"_inngest":{"x":1},"z":1.0}}"#,
        r#"{"data":{"z":1},"id":"k","name":"a","ts":1600000000000,"user":{"a":2,"b":1},"v":"1"}"#,
    );
    check(
        r#"[{"name":"a","ts":1e12},{"name":"INNGES/"}]"#,
        &format!(
            "{} {}",
            plain.replace("1785570000000", "1000000000000"),
            plain.replace("\"a\"", "\"INNGES/\"")
        ),
    );
}

#[test]
fn own_id_is_the_key_and_not_the_id() {
    let events = read(r#"[{"name":"a","id":"order-1"},{"name":"a"}]"#).unwrap();
    assert_eq!(events[0].key, "order-1");
    assert!(events[0].has_own_key() && !events[1].has_own_key());
    assert_eq!(events[1].key, events[1].id.to_string());
    assert_eq!((events[0].ts, events[0].received_at), (NOW, NOW));
}

#[test]
fn first_bad_event_refuses_all() {
    let error = read(r#"[{"name":"a"},{"name":"b"},{"name":""}]"#).unwrap_err();
    assert_eq!((error.index, error.code), (Some(2), "invalid_event"));
    let many = format!(
        "[{}]",
        vec![r#"{"name":"a"}"#; limits::EVENTS_PER_REQUEST + 1].join(",")
    );
    check_bad(
        &many,
        "too_many_events",
        "Cannot have more than 5000 events in a batch",
    );
    assert_eq!(
        read(&many.replacen(r#"{"name":"a"},"#, "", 1))
            .unwrap()
            .len(),
        limits::EVENTS_PER_REQUEST
    );
    check_bad("", "invalid_body", "Request body is empty");
    let not_events = "Request body must contain an event object or an array of event objects";
    for bad in ["1", "null", "\"a\"", "[1]", "[[]]", "name=a"] {
        check_bad(bad, "invalid_body", not_events);
    }
    assert_eq!(
        read("{\"name\":\"a\"}{\"name\":\"b\"}").unwrap_err().code,
        "invalid_body"
    );
    assert_eq!(read("{\"name\":\"a\"").unwrap_err().code, "invalid_body");
}

#[test]
fn members_are_checked() {
    for (event, message) in [
        (r#"{}"#, "event name is empty"),
        (r#"{"name":5}"#, "event `name` must be a string"),
        (
            r#"{"name":"Inngest/x"}"#,
            "event name is reserved for internal use: Inngest/x",
        ),
        (
            r#"{"name":"a","data":[]}"#,
            "event `data` must be an object",
        ),
        (r#"{"name":"a","user":1}"#, "event `user` must be an object"),
        (r#"{"name":"a","id":7}"#, "event `id` must be a string"),
        (r#"{"name":"a","v":7}"#, "event `v` must be a string"),
        (r#"{"name":"a","meta":7}"#, "event `meta` must be an object"),
        (
            r#"{"name":"a","ts":"1"}"#,
            "event `ts` must be a number of milliseconds",
        ),
        (
            r#"{"name":"a","ts":1.5}"#,
            "event `ts` must be a whole number of milliseconds",
        ),
        (
            r#"{"name":"a","ts":1e-9}"#,
            "event `ts` must be a whole number of milliseconds",
        ),
        (r#"{"name":"a","ts":-5}"#, "timestamp is before Jan 1, 1980"),
        (
            r#"{"name":"a","ts":315532799999}"#,
            "timestamp is before Jan 1, 1980",
        ),
        (
            r#"{"name":"a","ts":4102444800001}"#,
            "timestamp is after Jan 1, 2100",
        ),
        (
            r#"{"name":"a","ts":1e300}"#,
            "timestamp is after Jan 1, 2100",
        ),
        (
            r#"{"name":"a","ts":-1e300}"#,
            "timestamp is before Jan 1, 1980",
        ),
    ] {
        check_bad(event, "invalid_event", message);
    }
    check_bad(
        &format!(r#"{{"name":"{}"}}"#, "x".repeat(513)),
        "invalid_event",
        "event name is over 512 bytes",
    );
    check_bad(
        &format!(r#"{{"name":"a","id":"{}"}}"#, "x".repeat(513)),
        "invalid_event",
        "event id is over 512 bytes",
    );
    let frame = r#"{"data":{"a":""},"name":"a"}"#.len();
    let large = |size: usize| {
        format!(
            r#"{{"data":{{"a":"{}"}},"name":"a"}}"#,
            "x".repeat(size - frame)
        )
    };
    assert!(read(&large(limits::EVENT_BYTES)).is_ok());
    let message = "Event is over the max size: Max 3145728 bytes / Size 3145729 bytes";
    check_bad(&large(limits::EVENT_BYTES + 1), "event_too_large", message);
}

#[test]
fn seed_makes_ids_repeat() {
    let body = br#"[{"name":"a"},{"name":"b"}]"#;
    let ids = |seed: &str| -> Vec<String> {
        let events = parse_events(body, None, Some(seed), NOW, &IdSource::random()).unwrap();
        events.iter().map(|event| event.id.to_string()).collect()
    };
    let seed = "1785570000000,AAECAwQFBgcICQ==";
    assert_eq!(ids(seed), ids(seed));
    assert_ne!(ids(seed)[0], ids(seed)[1]);
    let entropy = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(
        ids(seed)[0],
        EventId::from_seed(1_785_570_000_000, entropy, 1).to_string()
    );
    for bad in [
        "",
        "5",
        "0,AAECAwQFBgcICQ==",
        "-1,AAECAwQFBgcICQ==",
        "5,AAEC",
        "5,!",
        "281474976710656,AAECAwQFBgcICQ==",
    ] {
        assert_ne!(ids(bad), ids(bad), "{bad}");
    }
}

#[test]
fn sessions_are_merged() {
    for (meta, expected) in [
        (
            r#"{"sessions":{"a":"1","b":2}}"#,
            Some(r#"{"a":"1","b":"2"}"#),
        ),
        (
            r#"{"sessions":{"a":"1"},"propagated_sessions":{"a":"x","c":3.5}}"#,
            Some(r#"{"a":"1","c":"3.5"}"#),
        ),
        (
            r#"{"sessions":{"a":null},"propagated_sessions":{"a":"x","c":"y"}}"#,
            Some(r#"{"c":"y"}"#),
        ),
        (r#"{"sessions":null,"propagated_sessions":{"a":"x"}}"#, None),
        (r#"{"sessions":{}}"#, None),
        (
            r#"{"sessions":{"z":"1"},"propagated_sessions":{"f":"6","e":"5","d":"4","c":"3","b":"2"}}"#,
            Some(r#"{"b":"2","c":"3","d":"4","e":"5","z":"1"}"#),
        ),
    ] {
        let event = read(&format!(r#"{{"name":"a","meta":{meta}}}"#))
            .unwrap()
            .remove(0);
        let got = event
            .body
            .member("meta")
            .and_then(|meta| meta.member("sessions"));
        assert_eq!(got.as_ref().map(Json::as_str), expected, "{meta}");
    }
    for bad in [
        r#"{"sessions":{"a":true}}"#,
        r#"{"sessions":{"":"x"}}"#,
        r#"{"sessions":{"a":""}}"#,
        r#"{"sessions":[]}"#,
        r#"{"sessions":{"a":"1","b":"1","c":"1","d":"1","e":"1","f":"1"}}"#,
    ] {
        assert!(
            read(&format!(r#"{{"name":"a","meta":{bad}}}"#)).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn url_encoded_form_is_an_event() {
    let form = |body: &str, content_type| {
        parse_events(
            body.as_bytes(),
            Some(content_type),
            None,
            NOW,
            &IdSource::counting(),
        )
    };
    let event = form(
        "name=shop%2Fa&ts=1600000000000&x=1+2&y=%zz",
        "application/x-www-form-urlencoded; charset=utf-8",
    )
    .unwrap()
    .remove(0);
    assert_eq!(event.name, "shop/a");
    assert_eq!(event.ts.as_millis(), 1_600_000_000_000);
    assert_eq!(
        event.body.member("data").unwrap().as_str(),
        r#"{"x":"1 2","y":"%zz"}"#
    );
    assert!(form("name=a&name=b", "application/x-www-form-urlencoded").is_err());
    assert_eq!(
        form("--x", "multipart/form-data; boundary=x")
            .unwrap_err()
            .code,
        "unsupported_media_type"
    );
}

#[test]
fn invocation_names_its_function() {
    let invoke =
        |body: &str| parse_invoke(body.as_bytes(), "shop-f", None, NOW, &IdSource::counting());
    let event = invoke(r#"{"name":"x","data":{"_inngest":1,"a":1},"user":{"u":1}}"#).unwrap();
    assert_eq!(event.name, "inngest/function.invoked");
    assert_eq!(
        event.body.member("data").unwrap().as_str(),
        r#"{"_inngest":{"fn_id":"shop-f"},"a":1}"#
    );
    assert!(invoke("").is_ok());
    for bad in ["[]", "1", "{", r#"{"data":1}"#] {
        assert!(invoke(bad).is_err(), "{bad}");
    }
    let large = format!(
        r#"{{"data":{{"a":"{}"}}}}"#,
        "x".repeat(limits::EVENT_BYTES)
    );
    assert_eq!(invoke(&large).unwrap_err().code, "event_too_large");
}

#[test]
fn names_and_ids_that_not_every_database_can_store_are_refused() {
    for body in [r#"{"name":"a\u0000b"}"#, r#"{"name":"a","id":"a\u0000b"}"#] {
        let read = parse_events(body.as_bytes(), None, None, NOW, &IdSource::counting());
        assert_eq!(read.unwrap_err().code, "invalid_event", "{body}");
    }
    let data = br#"{"name":"a","data":{"a":"\u0000"}}"#;
    assert!(parse_events(data, None, None, NOW, &IdSource::counting()).is_ok());
}

proptest! {
    #[test]
    fn any_body_is_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..256), seed in ".{0,40}", kind in 0..3usize) {
        let kind = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"][kind];
        let _ = parse_events(&body, Some(kind), Some(&seed), NOW, &IdSource::counting());
        let _ = parse_invoke(&body, "f", Some(&seed), NOW, &IdSource::counting());
    }

    #[test]
    fn any_event_like_text_is_read_without_a_panic(
        name in any::<String>(),
        other in "[\\[\\]{}\":,a-z0-9.\\-]{0,20}",
        key in "(data|id|ts|user|v|meta)",
    ) {
        let name = serde_json::to_string(&name).unwrap();
        let _ = read(&format!("{{\"name\":{name},\"{key}\":{other}}}"));
    }
}
