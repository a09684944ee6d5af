"""The emulator's server: server.py VERSION FAULTS PORTS. GET /leads/DOMAIN tells where its web server would go. Prints its port; ends when its standard input does."""
import json
import os
import sys
import threading
import xmlrpc.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION, FAULTS, PORTS = int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
SESSION = 'oz7e1xo7mgy5'
SITES = [{'id': 1, 'name': 'pony', 'ip': '203.0.113.7', 'https': False, 'subdomains': ['pony.example.org'],
          'website_apps': [['pony2026r1', '/'], ['static', '/media']]}]
APPS = [{'id': 1, 'name': 'pony2026r1', 'type': 'custom_app_with_port', 'port': PORTS[0]},
        {'id': 2, 'name': 'pony2026r2', 'type': 'custom_app_with_port', 'port': PORTS[1]}]
DOMAINS = [{'id': 1, 'domain': 'example.org', 'subdomains': ['pony']}]


def refuse(kind, message):
    raise xmlrpc.client.Fault(1, "<class 'webfaction_api.exceptions.%s'>:[u'%s']" % (kind, message))


def login(user, password, machine='', version=1):
    if (user, password) != ('u', 'allons-y'):
        refuse('LoginError', 'Invalid username or password')
    if version != VERSION:
        refuse('DataError', 'this emulator speaks version %d' % VERSION)
    return [SESSION, {'id': 12345, 'username': user, 'home': '/home', 'web_server': 'Web1', 'mail_server': 'Mailbox1'}]


def site_of(name, ip, https, subdomains, rest):
    if VERSION == 2:
        certificate, *rest = rest
        extra = {'certificate': certificate}
    else:
        extra = {}
    for app in rest:
        if not any(each['name'] == app[0] for each in APPS) and app[0] != 'static':
            refuse('DataError', 'no such app: %s' % app[0])
    return dict({'name': name, 'ip': ip, 'https': https, 'subdomains': subdomains, 'website_apps': [list(a) for a in rest]}, **extra)


def update_website(name, ip, https, subdomains, *rest):
    found = [s for s in SITES if (s['name'], s['ip'], s['https']) == (name, ip, https)]
    if not found:
        refuse('DataError', 'no such website')
    if FAULTS.get('update_website') != 'ignored':
        found[0].update(site_of(name, ip, https, subdomains, rest))
    return found[0]


def create_website(name, ip, https, subdomains, *rest):
    SITES.append(dict(site_of(name, ip, https, subdomains, rest), id=len(SITES) + 1))
    return SITES[-1]


def create_app(name, kind, autostart=False, extra_info='', open_port=False):
    APPS.append({'id': len(APPS) + 1, 'name': name, 'type': kind, 'port': 19300 + len(APPS) + 1, 'autostart': autostart,
                 'open_port': open_port, 'extra_info': extra_info, 'machine': 'Web1'})
    return APPS[-1]


def create_domain(domain, *subdomains):
    found = [d for d in DOMAINS if d['domain'] == domain]
    if not found:
        found = [{'id': len(DOMAINS) + 1, 'domain': domain, 'subdomains': []}]
        DOMAINS.append(found[0])
    found[0]['subdomains'] += subdomains
    return found[0]


METHODS = {
    'list_websites': lambda: [dict(s, **({'certificate': s.get('certificate', '')} if VERSION == 2 else {})) for s in SITES],
    'list_apps': lambda: APPS, 'list_domains': lambda: DOMAINS,
    'list_ips': lambda: [{'machine': 'Web1', 'ip': '203.0.113.7', 'is_main': True}],
    'update_website': update_website, 'create_website': create_website, 'create_app': create_app, 'create_domain': create_domain,
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        params, method = xmlrpc.client.loads(self.rfile.read(int(self.headers['Content-Length'])))
        fault = FAULTS.get(method)
        if fault == 'error500':
            return self.answer(500, b'oops')
        if fault == 'busy':
            return self.answer(429, b'slow down')
        if fault == 'silent':
            return self.rfile.read(1)
        try:
            if fault == 'fault':
                refuse('DataError', 'it is not allowed')
            if method == 'login':
                value = login(*params)
            elif params[0] != SESSION:
                refuse('LoginError', 'Session not found')
            else:
                value = METHODS[method](*params[1:])
            body = xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True)
        except xmlrpc.client.Fault as error:
            body = xmlrpc.client.dumps(error)
        if fault == 'lost':
            FAULTS.pop(method)
            self.connection.close()
            return None
        return self.answer(200, body.encode())

    def do_GET(self):
        domain = self.path.rpartition('/')[2]
        names = [name for site in SITES if domain in site['subdomains'] for name, at in site['website_apps'] if at == '/']
        return self.answer(200, json.dumps(next(({'app': a['name'], 'port': a['port']} for a in APPS if a['name'] in names), {})).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
