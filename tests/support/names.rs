//! Asking for addresses by name, and a server outside that knows one.

use super::lab::CLIENT;
use super::namespace::Namespace;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const HEADER: usize = 12;

/// The first IPv4 address that goes by a name, asked in the namespace of the calling thread; nothing when no answer comes.
pub fn resolve(server: IpAddr, name: &str, wait: Duration) -> Option<IpAddr> {
    // One question with recursion wanted: its name as labels, type A, class IN.
    let mut question = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("names of tests have short labels"));
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.set_read_timeout(Some(wait)).ok()?;
    socket.send_to(&question, SocketAddr::new(server, 53)).ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    // The first record: the name, spelled out or as a pointer to the question's, ten bytes of its own, and the address.
    let record = answer[..length].get(question.len()..)?;
    let labels = record.iter().position(|byte| *byte == 0)?;
    let name = if record.first()? & 0xc0 == 0xc0 { 2 } else { labels + 1 };
    let data = record.get(name + 10..)?;
    Some(Ipv4Addr::new(*data.first()?, *data.get(1)?, *data.get(2)?, *data.get(3)?).into())
}

/// A name server at the client's IPv4 address, in whose opinion every name is that address. It ends when this is dropped.
pub struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub fn start(client: &Namespace) -> Self {
        let [IpAddr::V4(address), _] = CLIENT else { panic!("the first address is of IPv4") };
        let socket = client.run(|| UdpSocket::bind((address, 53))).expect("nobody else listens there");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket has a time-out");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut query = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = answer(&query[..length], address) {
                    socket.send_to(&answer, from).ok();
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The query's first question answered with an address, or without a record when it asks for another type than A.
fn answer(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    // Labels up to the empty one, then type and class.
    let labels = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let end = HEADER + labels + 5;
    let of_type_a = query.get(end - 4..end - 2)? == [0, 1];
    let mut answer = query.get(..end)?.to_vec();
    // A response, recursion available; one question, perhaps one answer, and nothing further.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(of_type_a), 0, 0, 0, 0]);
    if of_type_a {
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
