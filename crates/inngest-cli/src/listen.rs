//! Opening the port.

use std::{
    io::{Error, ErrorKind},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, bail};
use tokio::net::{TcpListener, lookup_host};

use inngest_config::{Command, Host, ListenSettings};

/// How many ports `dev` tries from the wanted one on.
const TRIES: u16 = 100;

/// Listens on every address of the host, all on the same port. `dev` moves to the next free port, `start` does not.
///
/// # Errors
/// When the port is taken (for `dev`: the next hundred as well), the address is not one of this machine, or listening on the port
/// is not allowed.
pub(crate) async fn listen(
    settings: &ListenSettings,
    command: Command,
) -> anyhow::Result<Vec<TcpListener>> {
    let addresses = addresses(&settings.host).await?;
    let last = match command {
        Command::Dev if settings.port != 0 => settings.port.saturating_add(TRIES),
        Command::Dev | Command::Start | Command::Tool => settings.port,
    };
    for port in settings.port..=last {
        match bind_all(&addresses, port).await {
            Ok(listeners) => return Ok(listeners),
            Err((_, error)) if error.kind() == ErrorKind::AddrInUse && port < last => {}
            Err((address, error)) => return Err(explain(address, error)),
        }
    }
    bail!("no free port from {} to {last}", settings.port)
}

async fn addresses(host: &Host) -> anyhow::Result<Vec<IpAddr>> {
    let mut found = host.addresses();
    if let (true, Host::Named(name)) = (found.is_empty(), host) {
        let resolved = lookup_host((name.as_str(), 0))
            .await
            .with_context(|| format!("could not find the address of host `{name}`"))?;
        for address in resolved {
            if !found.contains(&address.ip()) {
                found.push(address.ip());
            }
        }
    }
    if found.is_empty() {
        bail!("the host to listen on has no address");
    }
    Ok(found)
}

/// The first address must be there; a further one that this machine does not have (no IPv6) is left out.
async fn bind_all(
    addresses: &[IpAddr],
    port: u16,
) -> Result<Vec<TcpListener>, (SocketAddr, Error)> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    let mut port = port;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener
                    .local_addr()
                    .map_err(|error| (address, error))?
                    .port();
                listeners.push(listener);
            }
            Err(error) if !listeners.is_empty() && error.kind() != ErrorKind::AddrInUse => {}
            Err(error) => return Err((address, error)),
        }
    }
    Ok(listeners)
}

fn explain(address: SocketAddr, error: Error) -> anyhow::Error {
    let what = match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "port {} is already in use; stop the other program or choose another port with --port",
                address.port()
            )
        }
        ErrorKind::AddrNotAvailable => format!(
            "{} is not an address of this machine; choose another with --host",
            address.ip()
        ),
        ErrorKind::PermissionDenied => format!(
            "listening on port {} is not allowed; choose one above 1023 with --port",
            address.port()
        ),
        _ => format!("could not listen on {address}"),
    };
    anyhow::Error::new(error).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(port: u16) -> ListenSettings {
        ListenSettings {
            host: Host::Loopback,
            port,
        }
    }

    fn port(listeners: &[TcpListener]) -> u16 {
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert!(ports.windows(2).all(|pair| pair[0] == pair[1]), "{ports:?}");
        ports[0]
    }

    #[tokio::test]
    async fn dev_moves_to_the_next_free_port_and_start_refuses() {
        let first = listen(&settings(0), Command::Dev).await.unwrap();
        let taken = port(&first);
        let second = listen(&settings(taken), Command::Dev).await.unwrap();
        assert_ne!(port(&second), taken);
        let refused = listen(&settings(taken), Command::Start).await.unwrap_err();
        assert!(
            format!("{refused:#}").contains(&format!("port {taken} is already in use")),
            "{refused:#}"
        );
    }

    #[tokio::test]
    async fn address_of_another_machine_is_explained() {
        let settings = ListenSettings {
            host: Host::Named("192.0.2.1".into()),
            port: 0,
        };
        let refused = listen(&settings, Command::Start).await.unwrap_err();
        assert!(
            format!("{refused:#}").contains("192.0.2.1 is not an address of this machine"),
            "{refused:#}"
        );
    }
}
