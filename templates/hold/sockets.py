"""Who listens and who is connected, as the kernel knows it: unix sockets and ports of this host."""
import os
import socket
import struct
import sys

LISTENS = 10


def connections_to(path):
    """Connections to a unix socket: waiting in its queue, or being served. The listener itself is not counted.
    To a port: those that are established."""
    if path.startswith('port:'):
        return sum(1 for state, _, port in tcp_sockets() if state == 1 and port == int(path[5:]))
    # By name, and by the socket's file, whose name may be another one than it was bound by: renamed, or through a link.
    return max(connections_by_name(path), connections_by_file(path))


def connections_by_name(path):
    count = 0
    with open('/proc/net/unix', errors='replace') as file:
        next(file)
        for line in file:
            fields = line.split(None, 7)
            listening = int(fields[3], 16) & 0x10000
            if len(fields) == 8 and fields[7].rstrip('\n') == path and not listening:
                count += 1
    return count


def connections_by_file(path):
    """0 where the kernel does not tell, too."""
    try:
        status = os.stat(path)
        wanted = status.st_ino & 0xffffffff, os.major(status.st_dev) << 20 | os.minor(status.st_dev)
        return sum(queued if state == LISTENS else 1 for state, file, queued in unix_sockets() if file == wanted)
    except OSError:
        return 0


# linux/sock_diag.h, linux/unix_diag.h, linux/netlink.h
SOCK_DIAG, BY_FAMILY, REQUEST_DUMP = 4, 20, 0x301
SHOW_FILE, SHOW_QUEUE = 0x2, 0x10
FILE, QUEUE = 1, 4
ERROR, DONE = 2, 3


def unix_sockets():
    """(state, (inode, device) of the file or None, connections that wait where it listens) of every unix socket. Raises
    OSError where the kernel does not tell."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as asked:
        asked.settimeout(2)
        request = struct.pack('=BBHIIIII', socket.AF_UNIX, 0, 0, 0xffffffff, 0, SHOW_FILE | SHOW_QUEUE, 0xffffffff, 0xffffffff)
        asked.send(struct.pack('=IHHII', 16 + len(request), BY_FAMILY, REQUEST_DUMP, 1, 0) + request)
        while True:
            data = asked.recv(1 << 20)
            while data:
                length, kind = struct.unpack_from('=IH', data)
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError(-struct.unpack_from('=i', data, 16)[0], 'sock_diag')
                yield one_socket(data[16:length])
                data = data[length + 3 & ~3:]


def one_socket(message):
    state, file, queued, at = message[2], None, 0, 16
    while at < len(message):
        length, kind = struct.unpack_from('=HH', message, at)
        if kind == FILE:
            file = struct.unpack_from('=II', message, at + 4)
        elif kind == QUEUE:
            queued = struct.unpack_from('=I', message, at + 4)[0]
        at += length + 3 & ~3
    return state, file, queued


def tcp_sockets():
    """(state, address, port) of every TCP socket's own end; 1 is established, 10 listens."""
    for path, family in (('/proc/net/tcp', socket.AF_INET), ('/proc/net/tcp6', socket.AF_INET6)):
        try:
            with open(path) as file:
                next(file)
                lines = file.readlines()
        except (OSError, StopIteration):
            continue
        for line in lines:
            fields = line.split()
            address, port = fields[1].split(':')
            words = [int(address[at:at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
            yield int(fields[3], 16), socket.inet_ntop(family, b''.join(words)), int(port, 16)


def listening_at(port):
    """The address at which somebody listens on a port; None where nobody does."""
    found = [address for state, address, each in tcp_sockets() if state == 10 and each == port]
    return found[0] if found else None
