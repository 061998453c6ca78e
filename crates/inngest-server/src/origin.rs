//! Which web pages may call. Programs send no `Origin` and are not concerned.

use http::{HeaderMap, header};

use crate::state::ServerSettings;

/// What the `Origin` of a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// None was sent, or it is the server's own.
    Own,
    /// Another one that may call.
    Allowed,
    /// Another one that may not.
    Foreign,
}

/// Judges the `Origin` header.
pub(crate) fn judge(settings: &ServerSettings, headers: &HeaderMap) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else {
        return Origin::Own;
    };
    let Ok(origin) = value.to_str() else {
        return Origin::Foreign;
    };
    let listed = settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin));
    if listed {
        return Origin::Allowed;
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Origin::Foreign;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
        return Origin::Own;
    }
    if settings.dev && matches!(scheme, "http" | "https") && is_loopback(authority) {
        Origin::Allowed
    } else {
        Origin::Foreign
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority
            .split_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_may_call_in_dev_and_only_listed_ones_elsewhere() {
        let check = |dev: bool, host: &str, origin: &str| {
            let mut settings = ServerSettings::new(dev, Default::default(), Default::default());
            settings.allowed_origins = vec!["https://ui.example.com".into()];
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            judge(&settings, &headers)
        };
        for (dev, host, origin, expected) in [
            (true, "localhost:8288", "", Origin::Own),
            (true, "localhost:8288", "http://localhost:8288", Origin::Own),
            (
                true,
                "localhost:8288",
                "http://localhost:3000",
                Origin::Allowed,
            ),
            (
                true,
                "localhost:8288",
                "http://127.0.0.1:3000",
                Origin::Allowed,
            ),
            (true, "localhost:8288", "http://[::1]:3000", Origin::Allowed),
            (
                true,
                "localhost:8288",
                "https://evil.example",
                Origin::Foreign,
            ),
            (
                true,
                "localhost:8288",
                "http://localhost.evil.example",
                Origin::Foreign,
            ),
            (true, "localhost:8288", "null", Origin::Foreign),
            (
                false,
                "inngest:8288",
                "http://localhost:3000",
                Origin::Foreign,
            ),
            (
                false,
                "inngest:8288",
                "https://ui.example.com",
                Origin::Allowed,
            ),
            (
                false,
                "inngest.example.com",
                "https://inngest.example.com",
                Origin::Own,
            ),
        ] {
            assert_eq!(check(dev, host, origin), expected, "{dev} {host} {origin}");
        }
    }
}
