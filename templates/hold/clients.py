"""HTTP to an app, behind a unix socket or a port, and XML-RPC to a supervisord. Imported where it is first needed, and
before the window: what it brings along is half of what Python needs to start, and a change starts many of them."""
import http.client
import socket
import xmlrpc.client

Fault = xmlrpc.client.Fault
# The daemon did not answer; or did, and not with what was asked for.
UNREACHED = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
FAILURES = (OSError, http.client.HTTPException, xmlrpc.client.Error)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class TlsConnection(http.client.HTTPConnection):
    """To an address, under another name. The name is checked; whether its certificate is trusted is for those who come
    from outside."""

    def __init__(self, host, port, name, timeout):
        super().__init__(host, port, timeout=timeout)
        self.name = name

    def connect(self):
        import ssl
        super().connect()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock, server_hostname=self.name)


def connection_to(where, timeout):
    """To a unix socket's path, or to `port:9001` of this host."""
    if where.startswith('port:'):
        return http.client.HTTPConnection('127.0.0.1', int(where[5:]), timeout=timeout)
    return UnixConnection(where, timeout)


def connection_through(host, port, name, timeout):
    """To a web server's address. `name`: by TLS, as this name."""
    if name is None:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return TlsConnection(host, port, name, timeout)


def ask(connection, path, headers):
    """(status, headers, body) of one GET, or raises OSError."""
    try:
        connection.request('GET', path, headers=dict({'Connection': 'close'}, **headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read(65536)
    except http.client.HTTPException as error:
        raise OSError('not HTTP: %r' % (error,))
    finally:
        connection.close()


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        return UnixConnection(self.path, 10)


def supervisor_at(path):
    """The `supervisor` methods of the daemon that listens on the unix socket `path`."""
    return xmlrpc.client.ServerProxy('http://localhost/RPC2', transport=UnixTransport(path)).supervisor
