//! What runs in a container: echoes TCP and UDP on the ports that its arguments name, or sends, as `frame HEX`, one frame
//! by eth0. Compiled into a static program of its own, since the image has nothing else in it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, frame] = arguments.as_slice()
        && word == "frame"
    {
        let digits = |at: usize| u8::from_str_radix(&frame[at..at + 2], 16).expect("two digits each");
        return send(&(0..frame.len()).step_by(2).map(digits).collect::<Vec<_>>());
    }
    let ports: Vec<u16> = arguments.iter().filter_map(|port| port.parse().ok()).collect();
    for port in ports {
        // "::" takes IPv4 too; where the engine has switched IPv6 off, it is the only address that is there.
        let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
        let socket = UdpSocket::bind(("::", port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
        let (listener, socket) = (listener.expect("a TCP port is free"), socket.expect("a UDP port is free"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..length], from).ok();
            }
        });
    }
    loop {
        thread::park();
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Needs CAP_NET_RAW.
fn send(frame: &[u8]) {
    const AF_PACKET: u16 = 17;
    const SOCK_RAW: i32 = 3;
    unsafe extern "C" {
        fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
        fn if_nametoindex(name: *const std::ffi::c_char) -> u32;
        fn sendto(to: i32, bytes: *const u8, length: usize, flags: i32, address: *const u8, size: u32) -> isize;
    }
    // SAFETY: the name ends with a zero.
    let index = unsafe { if_nametoindex(c"eth0".as_ptr()) };
    // A `struct sockaddr_ll`: family, protocol, index of the interface, and a link address that nobody asks for.
    let address = [&AF_PACKET.to_ne_bytes()[..], &[0; 2], &index.to_ne_bytes(), &[0; 12]].concat();
    let size = u32::try_from(address.len()).expect("it is short");
    // SAFETY: both pointers are to so many bytes as are said, which outlive the call.
    let sent = unsafe {
        let socket = socket(AF_PACKET.into(), SOCK_RAW, 0);
        sendto(socket, frame.as_ptr(), frame.len(), 0, address.as_ptr(), size)
    };
    assert_eq!(usize::try_from(sent), Ok(frame.len()), "{}", std::io::Error::last_os_error());
}
