"""Holds requests while their app is away: a unix socket that listens and does not accept.

    hold.py SPEC

The web server connects and waits in the kernel's queue. When the link SPEC.target points at a socket, the connections are
accepted one after another and relayed to it, until there are none. Two processes share the listening descriptor, so
that killing one fails nothing; each restarts the other. If the script that opened the window dies, they start it again
in its recovery. Standard library only.

SPEC is a JSON file: socket, backlog, deadline (seconds, for holding), lock (the script's lock file), recover (argv).
A socket `port:9001` is the port that the app has which goes: it is taken over the moment it is free (`address`: where it
listened). Then the relaying goes on, until a link SPEC.end is there and nothing comes any more. With `refuse`, seconds,
requests don't wait there: they are answered 503, with that as Retry-After.
"""
import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
import time

POLL = 0.05
# Relays at once in each process; the others wait in the kernel's queue, where killing a process can't hurt them.
RELAYS = 64
# An app gets so long to take what somebody asked who has gone.
GONE = 5
# Without a new connection for so long after the target is known, the queue is empty.
QUIET = 0.3


def main(spec_path):
    with open(spec_path) as file:
        spec = json.load(file)
    if spec['socket'].startswith('port:'):
        note_pid(spec_path)
        listener = take_over(spec['address'], int(spec['socket'][5:]), spec['backlog'], spec['deadline'])
    else:
        listener = listen(spec['socket'], spec['backlog'])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parent = os.getpid()
    child = os.fork()
    serve(spec_path, spec, listener, child or parent)


def listen(path, backlog):
    """The listening socket: bound beside and renamed, so that a path that exists always answers."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = '%s.%d' % (path, os.getpid() % 1000)
    if os.path.exists(beside):
        os.unlink(beside)
    listener.bind(beside)
    os.chmod(beside, 0o666)
    listener.listen(backlog)
    listener.setblocking(False)
    os.rename(beside, path)
    return listener


def take_over(address, port, backlog, seconds):
    """The listening port, bound as soon as whoever listens there lets go of it."""
    listener = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end = time.monotonic() + seconds
    while True:
        try:
            listener.bind((address, port))
            listener.listen(backlog)
            break
        except OSError:
            if time.monotonic() > end:
                os._exit(3)
            time.sleep(0.001)
    listener.setblocking(False)
    return listener


def serve(spec_path, spec, listener, sibling):
    """One of the two processes, from the first waiting request to the last."""
    began = time.monotonic()
    free_polls = 0
    note_pid(spec_path)
    while True:
        target = target_of(spec_path)
        if target:
            break
        if not alive(sibling):
            me = os.getpid()
            child = os.fork()
            sibling = child or me
            if not child:
                note_pid(spec_path)
        free_polls = free_polls + 1 if is_free(spec['lock']) else 0
        if free_polls >= 6:
            recover(spec)
            free_polls = -100
        if time.monotonic() - began > spec['deadline']:
            os._exit(3)
        if spec.get('refuse'):
            refuse_those_that_come(listener, spec['refuse'])
        else:
            time.sleep(POLL)
    stays = spec['socket'].startswith('port:')
    relay_all(listener, target, began + spec['deadline'] + 60, (lambda: os.path.lexists(spec_path + '.end')) if stays else None)
    os._exit(0)


def refuse_those_that_come(listener, seconds):
    """For one poll's time: all that is in the queue."""
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.poll(POLL * 1000)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=refuse, args=(client, seconds), daemon=True).start()


def refuse(client, seconds):
    """503 once its head is there. What comes after that is read and thrown away: closing on it would cut the answer off."""
    try:
        client.settimeout(5)
        head = b''
        while b'\r\n\r\n' not in head and len(head) < 65536:
            data = client.recv(65536)
            if not data:
                return
            head += data
        body = b'Down for a moment. Please try again.\n'
        client.sendall(b'HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Type: text/plain\r\n'
                       b'Content-Length: %d\r\nConnection: close\r\n\r\n%s' % (seconds, len(body), body))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    except OSError:
        pass
    finally:
        client.close()


def note_pid(spec_path):
    with open('%s.pid.%d' % (spec_path, os.getpid()), 'w') as file:
        file.write(start_time(os.getpid()))


def target_of(spec_path):
    """A symlink, because one can be made on a disk that is full."""
    try:
        return os.readlink(spec_path + '.target')
    except OSError:
        return None


def start_time(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            fields = file.read().rpartition(')')[2].split()
    except OSError:
        return ''
    return '' if fields[0] == 'Z' else fields[19]


def alive(pid):
    return start_time(pid) != ''


def is_free(lock):
    """Whether nobody holds the script's lock: it has ended, or was killed."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def recover(spec):
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, 256)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.execv(spec['recover'][0], spec['recover'])
    except OSError:
        os._exit(127)


def relay_all(listener, target, deadline, may_end=None):
    """Until nothing came for a while, and `may_end` says so where it is given."""
    slots = threading.Semaphore(RELAYS)
    quiet_since = time.monotonic()
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    while True:
        if may_end and not may_end():
            quiet_since = time.monotonic()
            deadline = quiet_since + 60
        if time.monotonic() - quiet_since >= (QUIET * 3 if may_end else QUIET):
            break
        slots.acquire()
        poller.poll(POLL * 1000)
        try:
            client, _ = listener.accept()
        except OSError:
            slots.release()
            continue
        quiet_since = time.monotonic()
        threading.Thread(target=relay, args=(client, target, deadline, slots), daemon=True).start()
    for _ in range(RELAYS):
        slots.acquire()


def relay(client, target, deadline, slots):
    try:
        client.setblocking(True)
        # The web server gave up on this one, and has told its client so: running it now would run it unseen.
        if gone(client):
            return
        upstream = connect(target, deadline)
        if upstream:
            both_ways(client, upstream)
            upstream.close()
    except OSError:
        pass
    finally:
        client.close()
        slots.release()


def gone(client):
    poller = select.poll()
    poller.register(client, select.POLLRDHUP)
    return any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))


def connect(target, deadline):
    port = int(target[5:]) if target.startswith('port:') else None
    while time.monotonic() < deadline:
        upstream = socket.socket(socket.AF_UNIX if port is None else socket.AF_INET, socket.SOCK_STREAM)
        try:
            upstream.connect(target if port is None else ('127.0.0.1', port))
            return upstream
        except OSError:
            upstream.close()
            time.sleep(POLL)
    return None


def both_ways(client, upstream):
    """Until the app has answered. Neither way waits for the other: an app may answer before it has read everything, and
    one that does not read on until its answer is taken would wait for this, and this for it."""
    client.setblocking(False)
    upstream.setblocking(False)
    to_app = to_client = b''
    asking = answering = True
    # Whether the other end has closed altogether: then what it asked is passed on, and nobody waits for the answer.
    gone = False
    while (asking or to_app) if gone else (answering or to_client):
        poller = select.poll()
        reads, writes = asking and not to_app, to_client and not gone
        if reads or not gone:
            poller.register(client, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
        reads, writes = answering and not to_client and not gone, to_app
        if reads or writes:
            poller.register(upstream, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
        ready = dict(poller.poll(GONE * 1000 if gone else None))
        if gone and not ready:
            return
        if client.fileno() in ready:
            gone = gone or bool(ready[client.fileno()] & (select.POLLHUP | select.POLLERR))
            if to_client and not gone:
                to_client = to_client[sent(client, to_client):]
            if asking and not to_app:
                to_app = received(client)
                if to_app == b'':
                    asking = False
                    upstream.shutdown(socket.SHUT_WR)
        if upstream.fileno() in ready:
            if to_app:
                try:
                    to_app = to_app[sent(upstream, to_app):]
                except (BrokenPipeError, ConnectionResetError):
                    # It wants to know no more of the request, and may have answered it.
                    to_app, asking = b'', False
            if answering and not to_client and not gone:
                to_client = received(upstream)
                answering = to_client != b''


def received(source):
    """What is there; None where that is nothing yet, and nothing where the other side has ended."""
    try:
        return source.recv(65536)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b''


def sent(sink, data):
    try:
        return sink.send(data)
    except BlockingIOError:
        return 0


if __name__ == '__main__':
    main(sys.argv[1])
