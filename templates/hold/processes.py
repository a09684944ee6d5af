"""The processes of a release, seen in /proc, and its supervisord. A stopped program is one of which no process is left,
whatever a daemon says; SLIPWAY_PROCESS in their environment, `<release folder>:<program>`, tells whose they are."""
import os
import resource
import signal
import subprocess
import time

POLL = 0.02
# The change that these scripts belong to: they lie in its folder.
CHANGE = os.path.basename(os.path.dirname(os.path.abspath(__file__)))
RUNNING, STARTING, BACKOFF, STOPPING = 20, 10, 30, 40


class Failure(Exception):
    """What went wrong, as a sentence for the operator."""


def wait_for(condition, seconds, what):
    """Waits until `condition()` is true; raises a Failure with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure('%s, after %.1f s' % (what() if callable(what) else what, seconds))
        time.sleep(POLL)


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


class Watch:
    """From now on: how long it was, and how much CPU time this process and the children it waited for had of it."""

    def __init__(self):
        self.began, self.cpu = time.monotonic(), self.used()

    def used(self):
        return sum(usage.ru_utime + usage.ru_stime for usage in
                   (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))

    def ms(self):
        return round((time.monotonic() - self.began) * 1000)

    def cpu_ms(self):
        return round((self.used() - self.cpu) * 1000)


def cpu_ms_of(pids):
    """The CPU time that processes have had since they began, in milliseconds."""
    total = 0
    for pid in pids:
        try:
            with open('/proc/%d/stat' % pid) as file:
                fields = file.read().rpartition(')')[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return round(total * 1000 / os.sysconf('SC_CLK_TCK'))


WEB_SERVERS = ('nginx', 'apache2', 'httpd', 'caddy', 'haproxy', 'lighttpd', 'traefik')


class Demand:
    """How much of the CPU time that others take goes into answering requests: it is free while they are held. Counted are
    the app that answers them, web servers, and those on this host that ask the web server."""

    def __init__(self, spec):
        self.pids = set(marked(spec['folder'], spec['programs'])) | set(named(WEB_SERVERS)) | set(clients_of(spec['port']))
        self.busy, self.theirs = busy_ms(), cpu_ms_of(self.pids)

    def share(self, ours):
        """0 to 1, since this began; `ours` is what was taken meanwhile on behalf of the change, in milliseconds."""
        others = busy_ms() - self.busy - ours
        return round(min(1, max(0, (cpu_ms_of(self.pids) - self.theirs) / others)), 2) if others > 0 else 0


def busy_ms():
    """CPU time that everything on this host has had since it was started."""
    with open('/proc/stat') as file:
        user, nice, system, _, _, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) * 1000 // os.sysconf('SC_CLK_TCK')


def named(names):
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open('/proc/%s/comm' % entry) as file:
                if file.read().strip() in names:
                    yield int(entry)
        except OSError:
            continue


def clients_of(port):
    """Processes with a connection to a port of this host, as far as this user may see."""
    wanted = set()
    for path in ('/proc/net/tcp', '/proc/net/tcp6'):
        try:
            with open(path) as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        wanted.update('socket:[%s]' % row[9] for row in rows if int(row[2].split(':')[1], 16) == port and row[3] == '01')
    for entry in os.listdir('/proc') if wanted else []:
        if not entry.isdigit():
            continue
        try:
            for fd in os.listdir('/proc/%s/fd' % entry):
                if os.readlink('/proc/%s/fd/%s' % (entry, fd)) in wanted:
                    yield int(entry)
                    break
        except OSError:
            continue


def parent_of(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return int(file.read().rpartition(')')[2].split()[1])
    except OSError:
        return 0


def marked(folder, programs):
    """{pid: program} of every living process of these programs, their children included."""
    wanted = {('SLIPWAY_PROCESS=%s:%s' % (folder, name)).encode(): name for name in programs}
    found = {}
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open('/proc/%s/environ' % entry, 'rb') as file:
                environment = file.read()
        except OSError:
            continue
        for word in environment.split(b'\0'):
            if word in wanted and alive(int(entry)):
                found[int(entry)] = wanted[word]
    return found


def top_of(pids):
    """Those whose parent is not one of them: what gets TERM."""
    return [pid for pid in pids if parent_of(pid) not in pids]


class Daemon:
    """A release's supervisord: `socket`, `argv` that starts it, `folder` of the release."""

    def __init__(self, spec):
        self.spec = spec
        self.folder = spec['folder']

    def rpc(self):
        import clients
        return clients.supervisor_at(self.spec['socket'])

    def is_up(self):
        import clients
        try:
            return self.rpc().getState()['statecode'] == 1
        except clients.FAILURES:
            return False

    def ensure(self, seconds=10):
        if self.is_up():
            return
        done = subprocess.run(self.spec['argv'], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds, env=clean_environment())
        if done.returncode != 0 and not self.is_up():
            raise Failure('supervisord of %s did not start: %s' % (self.folder, done.stdout.decode(errors='replace').strip()))
        wait_for(self.is_up, seconds, 'supervisord of %s does not answer' % self.folder)

    def states(self):
        return {info['name']: info for info in self.rpc().getAllProcessInfo()}

    def running(self, programs):
        """Those of `programs` that run or try to."""
        import clients
        try:
            states = self.states()
        except clients.FAILURES:
            return sorted(set(marked(self.folder, programs).values()))
        return [name for name in programs if states.get(name, {}).get('state') in (RUNNING, STARTING, BACKOFF)]

    def stop(self, programs, seconds):
        """Stops them and waits until no process is left. Returns the pids that had to be killed."""
        import clients
        try:
            rpc = self.rpc()
            for name in self.running(programs):
                try:
                    rpc.stopProcess(name, False)
                except clients.Fault as fault:
                    if fault.faultCode not in (10, 70):
                        raise Failure('%s could not be stopped: %s' % (name, fault.faultString))
        except clients.UNREACHED:
            # Its daemon is gone: what it left behind is stopped by hand.
            for pid in top_of(marked(self.folder, programs)):
                send(pid, signal.SIGTERM)
        end = time.monotonic() + seconds
        while True:
            left = marked(self.folder, programs)
            if not left:
                return []
            if time.monotonic() > end:
                break
            time.sleep(POLL)
        for pid in left:
            send(pid, signal.SIGKILL)
        wait_for(lambda: not marked(self.folder, programs), 5, 'processes survive SIGKILL: %s' % sorted(left))
        return sorted(left)

    def start(self, programs, seconds):
        """Starts them; what an earlier daemon left behind of them goes first."""
        import clients
        if not programs:
            return
        self.ensure()
        rpc = self.rpc()
        daemon = rpc.getPID()
        orphans = [pid for pid in top_of(marked(self.folder, programs)) if not descends(pid, daemon)]
        for pid in orphans:
            send(pid, signal.SIGTERM)
        end = time.monotonic() + 5
        while any(alive(pid) for pid in orphans) and time.monotonic() < end:
            time.sleep(POLL)
        for pid in orphans:
            send(pid, signal.SIGKILL)
        for name in programs:
            try:
                rpc.startProcess(name, False)
            except clients.Fault as fault:
                if fault.faultCode == 60:
                    continue
                raise Failure('%s could not be started: %s' % (name, fault.faultString))
        wait_for(lambda: all(name in self.running(programs) for name in programs), seconds,
                 lambda: '%s does not run: %s' % (programs, self.explain(programs)))

    def explain(self, programs):
        import clients
        try:
            states = self.states()
        except clients.FAILURES as error:
            return str(error)
        return '; '.join('%s %s %s' % (name, states.get(name, {}).get('statename', 'UNKNOWN'),
                                       states.get(name, {}).get('spawnerr', '')) for name in programs)

    def shutdown(self, seconds):
        if not self.is_up():
            return
        pid = self.rpc().getPID()
        self.rpc().shutdown()
        wait_for(lambda: not alive(pid), seconds, 'supervisord of %s does not end' % self.folder)


def descends(pid, ancestor):
    while pid > 1:
        pid = parent_of(pid)
        if pid == ancestor:
            return True
    return False


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def command_environment():
    """What a command of a change gets: it can be found, should the script that waits for it be killed."""
    return dict(clean_environment(), SLIPWAY_CHANGE=CHANGE)


def end_left_over():
    """Ends commands of a change whose script was killed: what they still do would meet what comes next. A migration
    that was only about to connect would find the old database under the name of its copy."""
    word = ('SLIPWAY_CHANGE=%s' % CHANGE).encode()

    def left():
        found = []
        for entry in os.listdir('/proc'):
            try:
                if entry.isdigit() and int(entry) != os.getpid():
                    with open('/proc/%s/environ' % entry, 'rb') as file:
                        if word in file.read().split(b'\0') and alive(int(entry)):
                            found.append(int(entry))
            except OSError:
                continue
        return found

    for pid in left():
        send(pid, signal.SIGKILL)
    wait_for(lambda: not left(), 10, 'commands of an earlier run can not be ended')


def clean_environment():
    """What a daemon may inherit: nothing of this script's."""
    ours = ('SLIPWAY_VERSION', 'SLIPWAY_PROCESS', 'SLIPWAY_CHANGE', 'SUPERVISOR_')
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def health_fault(answer, health, release):
    """Why this answer is not the healthy one of this very version; None if it is."""
    status, headers, body = answer
    if status != health['status']:
        return 'it answers %d, not %d' % (status, health['status'])
    if health.get('body') and health['body'] not in body.decode(errors='replace'):
        return 'its answer lacks %r' % health['body']
    if release and headers.get('x-release') != release:
        return 'X-Release is %s, not %s' % (headers.get('x-release'), release)
    return None


def healthy_on(path, health, release, seconds):
    """Waits until the app behind a unix socket is healthy."""
    from clients import ask, connection_to
    last = ['no answer yet']

    def once():
        try:
            answer = ask(connection_to(path, max(0.5, min(5, seconds))), health['path'], {'Host': health.get('host', 'localhost')})
        except OSError as error:
            last[0] = str(error)
            return False
        last[0] = health_fault(answer, health, release)
        return last[0] is None

    wait_for(once, seconds, lambda: 'the app on %s is not healthy: %s' % (path, last[0]))
