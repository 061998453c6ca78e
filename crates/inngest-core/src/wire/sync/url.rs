//! URLs of apps as text. Whether one can be called is decided where it is called.

/// Parameters that name a deployment rather than an app.
const TRANSIENT: [&str; 2] = ["deployId", "probe"];

/// The URL without `deployId`, `probe`, fragment and default port, scheme and host in lower case. `None` unless it is an `http`,
/// `https`, `ws` or `wss` URL with a host.
pub fn normalize_url(url: &str) -> Option<String> {
    let parts = split(url)?;
    let authority = match (parts.scheme.as_str(), parts.port) {
        (_, None) | ("http" | "ws", Some("80" | "")) | ("https" | "wss", Some("443" | "")) => {
            parts.host.clone()
        }
        (_, Some(port)) => format!("{}:{port}", parts.host),
    };
    Some(parts.join(&authority))
}

/// The URL by which two registrations are the same app: as [`normalize_url`], and the loopback and unspecified addresses with a port
/// are `localhost`. Not for calling: an app may listen on one of them only.
pub fn identity_url(url: &str) -> Option<String> {
    let normal = normalize_url(url)?;
    let parts = split(&normal)?;
    match parts.port {
        Some(port) if matches!(parts.host.as_str(), "127.0.0.1" | "0.0.0.0" | "[::1]") => {
            Some(parts.join(&format!("localhost:{port}")))
        }
        _ => Some(normal),
    }
}

/// The URL without what may be a secret: without user, query and fragment. For showing, not for calling.
pub fn public_url(url: &str) -> Option<String> {
    let parts = split(url)?;
    let port = parts
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    Some(format!(
        "{}://{}{port}{}",
        parts.scheme, parts.host, parts.path
    ))
}

/// The value of a query parameter, as it stands there.
pub(super) fn query_value(url: &str, key: &str) -> Option<String> {
    let (_, query) = url.split('#').next()?.split_once('?')?;
    let (_, value) = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)?;
    (!value.is_empty()).then(|| value.to_owned())
}

struct Parts<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: String,
    port: Option<&'a str>,
    path: &'a str,
    query: Vec<&'a str>,
}

fn split(url: &str) -> Option<Parts<'_>> {
    let url = url.trim().split('#').next()?;
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "ws" | "wss") {
        return None;
    }
    let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(path_start);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    // An IPv6 address has colons of its own, inside brackets.
    let (host, port) = match address.rfind(':') {
        Some(colon) if !address[colon..].contains(']') => {
            (&address[..colon], Some(&address[colon + 1..]))
        }
        _ => (address, None),
    };
    let is_port = port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok());
    if host.is_empty() || !is_port {
        return None;
    }
    let is_kept = |pair: &&str| {
        !pair.is_empty() && !TRANSIENT.contains(&pair.split('=').next().unwrap_or_default())
    };
    let query = query.split('&').filter(is_kept).collect();
    Some(Parts {
        scheme,
        user,
        host: host.to_ascii_lowercase(),
        port,
        path,
        query,
    })
}

impl Parts<'_> {
    fn join(&self, authority: &str) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        let path = if self.path.is_empty() { "/" } else { self.path };
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("?{}", self.query.join("&"))
        };
        format!("{}://{user}{authority}{path}{query}", self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_names_no_app() {
        for (url, normal, identity) in [
            (
                "http://localhost:3000/api/inngest",
                "http://localhost:3000/api/inngest",
                "http://localhost:3000/api/inngest",
            ),
            (
                "HTTP://127.0.0.1:3000/api?deployId=d1",
                "http://127.0.0.1:3000/api",
                "http://localhost:3000/api",
            ),
            (
                "http://0.0.0.0:80/a?probe=trust&x=1&&deployId=",
                "http://0.0.0.0/a?x=1",
                "http://0.0.0.0/a?x=1",
            ),
            (
                "https://Shop.Test:443",
                "https://shop.test/",
                "https://shop.test/",
            ),
            (
                "https://shop.test:80/a#top",
                "https://shop.test:80/a",
                "https://shop.test:80/a",
            ),
            (
                "http://u:p@[::1]:3000/A?fnId=f&deployId=d&stepId=step",
                "http://u:p@[::1]:3000/A?fnId=f&stepId=step",
                "http://u:p@localhost:3000/A?fnId=f&stepId=step",
            ),
            ("ws://connect", "ws://connect/", "ws://connect/"),
            (
                "http://a?deployIdx=1",
                "http://a/?deployIdx=1",
                "http://a/?deployIdx=1",
            ),
        ] {
            assert_eq!(normalize_url(url).as_deref(), Some(normal), "{url}");
            assert_eq!(identity_url(url).as_deref(), Some(identity), "{url}");
        }
        for bad in [
            "",
            "shop.test",
            "ftp://a",
            "http://",
            "http:///a",
            "http://:80",
            "http://a:x/",
            "http://a:99999/",
            "http://a b/",
        ] {
            assert_eq!(normalize_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn shown_url_has_no_place_for_a_secret() {
        for (url, shown) in [
            (
                "https://u:p@API.test:8443/v1/x?key=s#top",
                "https://api.test:8443/v1/x",
            ),
            ("http://a", "http://a"),
        ] {
            assert_eq!(public_url(url).as_deref(), Some(shown));
        }
        assert_eq!(public_url("file:///etc/passwd"), None);
    }

    #[test]
    fn deployment_is_found_in_the_query() {
        assert_eq!(
            query_value("http://a/?x=1&deployId=d1", "deployId").as_deref(),
            Some("d1")
        );
        assert_eq!(query_value("http://a/?deployId=", "deployId"), None);
        assert_eq!(query_value("http://a/", "deployId"), None);
    }
}
