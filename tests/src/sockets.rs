//! Connections of this process, as the operating system counts them (Linux: `/proc`).

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

/// The remote port of each established TCP connection of this process, in no order.
///
/// # Errors
/// Where there is no `/proc`, or it does not read as Linux' does.
pub fn established() -> io::Result<Vec<u16>> {
    let own = own_inodes()?;
    let mut ports = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match fs::read_to_string(table) {
            // A machine without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {}
            text => ports.extend(established_in(&text?, &own)?),
        }
    }
    Ok(ports.into_values().collect())
}

/// The remote port of each of these sockets that is established, by its inode: a table is read in
/// pieces, and what changes meanwhile may show a socket twice.
fn established_in(table: &str, own: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, u16>> {
    let mut ports = BTreeMap::new();
    for line in table.lines().skip(1) {
        let socket = Socket::read(line).ok_or_else(|| io::Error::other(line))?;
        if socket.state == ESTABLISHED && own.contains(&socket.inode) {
            ports.insert(socket.inode, socket.remote_port);
        }
    }
    Ok(ports)
}

/// The sockets among the open files of this process.
fn own_inodes() -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // One that was closed meanwhile leads nowhere.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let name = target.to_string_lossy();
        let inode = name.strip_prefix("socket:[").and_then(|name| name.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}

/// A line of `/proc/net/tcp` (Linux, `Documentation/networking/proc_net_tcp.rst`).
#[derive(Debug, Eq, PartialEq)]
struct Socket {
    remote_port: u16,
    state: u8,
    inode: u64,
}

impl Socket {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(2);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let remote_port = u16::from_str_radix(port, 16).ok()?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self { remote_port, state, inode })
    }
}

const ESTABLISHED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::{ESTABLISHED, Socket, established, established_in};
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   1: 0100007F:D4A6 0100007F:23A4 01 00000000:00000000 00:00000000 00000000  \
                    1000        0 48213 1 0000000000000000 20 4 30 10 -1";
        let read = Socket { remote_port: 0x23a4, state: ESTABLISHED, inode: 48_213 };
        assert_eq!(Socket::read(line), Some(read));
        assert_eq!(Socket::read("   1: 0100007F:D4A6 0100007F 01"), None);
    }

    #[test]
    fn a_socket_that_the_table_shows_twice_is_counted_once_and_others_are_not() {
        let line = |state: &str, inode: u64| {
            format!("1: 0100007F:D4A6 0100007F:23A4 {state} 0:0 00:00000000 0 1000 0 {inode} 2\n")
        };
        let table =
            ["head\n".to_owned(), line("01", 7), line("01", 8), line("06", 9), line("01", 7)];
        let own = BTreeSet::from([7, 9]);
        let read = established_in(&table.concat(), &own).expect("it is read");
        assert_eq!(read, BTreeMap::from([(7, 0x23a4)]), "8 is another process', 9 is closing");
    }

    #[test]
    fn a_connection_is_counted_while_it_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let count = || {
            let open = established().expect("this is Linux");
            open.iter().filter(|remote| **remote == port).count()
        };
        assert_eq!(count(), 0);
        let first = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let second = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        assert_eq!(count(), 2);
        drop(first);
        assert_eq!(count(), 1);
        drop(second);
        assert_eq!(count(), 0);
    }
}
