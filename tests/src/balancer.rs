//! A load balancer: whoever connects is connected to the next server that can be reached.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running balancer; it balances until the process ends.
#[derive(Debug)]
pub struct Balancer {
    base: String,
}

impl Balancer {
    /// Balances over servers on these ports of loopback.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let servers: Arc<[SocketAddr]> = ports
            .iter()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
            .collect();
        thread::spawn(move || {
            let next = AtomicUsize::new(0);
            for client in listener.incoming().flatten() {
                // One after the other would have the same server asked by the same kind of request again and again, where a sender
                // keeps to an order.
                let count = next.fetch_add(1, Ordering::Relaxed) as u64;
                let mixed = count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
                let first = usize::try_from(mixed).unwrap_or_default();
                let servers = servers.clone();
                thread::spawn(move || pass(client, &servers, first));
            }
        });
        Self {
            base: format!("http://{address}"),
        }
    }

    /// Its address without a path.
    pub fn base(&self) -> &str {
        &self.base
    }
}

fn pass(client: TcpStream, servers: &[SocketAddr], first: usize) {
    let mut in_turn = (0..servers.len()).map(|turn| servers[(first + turn) % servers.len()]);
    // Nobody there: the client's connection is closed.
    let Some(server) =
        in_turn.find_map(|address| TcpStream::connect_timeout(&address, PATIENCE).ok())
    else {
        return;
    };
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    thread::spawn(move || copy(from_server, client));
    copy(from_client, server);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // One of them may be gone already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
