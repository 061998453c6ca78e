//! Whether the server could listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{net::TcpListener, time::timeout};

use inngest_config::{Command, MetricsSettings, Settings};
use inngest_core::wire::headers;

use crate::{
    chain::chain,
    doctor::{
        PATIENCE,
        finding::{Finding, bad, doubtful, good},
    },
    listen::listen,
};

/// Opens the ports for a moment.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let port = settings.listen.port;
    // As `start` does, because `dev` would move on without a word.
    let Err(error) = listen(&settings.listen, Command::Start).await else {
        let message = match port {
            0 => "the system chooses one that is free".to_owned(),
            port => format!("{port} is free"),
        };
        return [good("port", message)]
            .into_iter()
            .chain(metrics(&settings.metrics).await)
            .collect();
    };
    if is_ours(settings).await {
        // It has the port of the metrics as well.
        return vec![doubtful(
            "port",
            format!("an inngest server listens on {port} already"),
            "nothing if it is the one that is meant; otherwise choose another with --port",
        )];
    }
    let is_taken = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::AddrInUse);
    let server = match settings.command {
        Command::Dev if is_taken => doubtful(
            "port",
            format!("{port} is taken, so `inngest dev` moves to the next that is free"),
            "stop what listens there, or choose another with --port and tell the apps by INNGEST_DEV",
        ),
        Command::Dev | Command::Start | Command::Tool => bad(
            "port",
            chain(&error),
            "stop what listens there, or choose others with --port and --host",
        ),
    };
    let metrics = metrics(&settings.metrics).await;
    [server].into_iter().chain(metrics).collect()
}

/// Whether a server of this product answers where this one would.
async fn is_ours(settings: &Settings) -> bool {
    let ip = settings.listen.host.addresses().first().copied();
    let ip = ip.filter(|ip| !ip.is_unspecified());
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let url = format!("http://{}/live", SocketAddr::new(ip, settings.listen.port));
    let asking = async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.get(url).send().await
    };
    match timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer.headers().contains_key(headers::SERVER_KIND),
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn metrics(settings: &MetricsSettings) -> Option<Finding> {
    let (address, is_asked_for) = match settings {
        MetricsSettings::Off => return None,
        MetricsSettings::Usual(address) => (*address, false),
        MetricsSettings::At(address) => (*address, true),
    };
    let advice = "stop what listens there, or choose another with --metrics-listen";
    Some(match TcpListener::bind(address).await {
        Ok(_) => good("metrics", format!("{address} is free")),
        Err(error) if is_asked_for => bad("metrics", format!("{address}: {error}"), advice),
        Err(error) => doubtful(
            "metrics",
            format!("{address}: {error}; the server would serve none"),
            advice,
        ),
    })
}
