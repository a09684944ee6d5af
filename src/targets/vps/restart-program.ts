/**
 * Restarting on the host itself, as one Python program (a host with supervisord has Python): what would be dozens of
 * questions over the network is one, and its steps are told as they happen. The standard library alone; sent as text,
 * run with `python3 -c`.
 *
 *   server PLAN    the other slot is started, must be healthy, gets the site's socket; the old one is drained
 *   workers PLAN   the workers are drained and proved gone, and started again
 *
 * PLAN is JSON (RestartPlan). Prints one JSON line for each thing to tell, and a last one with `done`. It goes on to
 * its end where nobody listens any more: a lost connection leaves no server half exchanged.
 */
export const restartProgram = `
import http.client, json, os, signal, socket, subprocess, sys, time, xmlrpc.client

signal.signal(signal.SIGHUP, signal.SIG_IGN)
action, plan = sys.argv[1], json.loads(sys.argv[2])

def emit(**what):
    try:
        sys.stdout.write(json.dumps(what) + '\\n')
        sys.stdout.flush()
    except OSError:
        pass

class Stopped(Exception):
    pass

def stopped(code, **more):
    emit(done=dict(more, outcome=code))
    raise Stopped()

def step(title, act):
    emit(begin=title)
    try:
        detail = act()
    except BaseException:
        emit(end='failed')
        raise
    emit(end='ok', detail=detail)

def guard():
    if not plan.get('guard'):
        return
    check = subprocess.run(['sh', '-c', plan['guard']], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check.returncode != 0:
        stopped('guard', detail=check.stdout.decode('utf-8', 'replace').strip())

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self.socket_path = path
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)

class UnixTransport(xmlrpc.client.Transport):
    def make_connection(self, host):
        if not self._connection or self._connection[0] != host:
            self._connection = host, UnixConnection(plan['supervisor'], 10)
        return self._connection[1]

daemon = xmlrpc.client.ServerProxy('http://localhost', transport=UnixTransport())

# Before the names of the release's programs, where the daemon is the system's.
prefix = plan['prefix']

def processes():
    return ours(daemon.supervisor.getAllProcessInfo())

def ours(infos):
    return {info['name'][len(prefix):]: info for info in infos if info['name'].startswith(prefix)}

def state(info):
    return info['statename'] if info else 'STOPPED'

def is_up(info):
    return state(info) in ('RUNNING', 'STARTING')

def is_down(info):
    return state(info) in ('STOPPED', 'EXITED', 'FATAL')

def has_failed(info):
    return info is not None and state(info) in ('FATAL', 'BACKOFF', 'EXITED')

def said(info):
    return info['spawnerr'] or info['description'] or ''

# Many calls in one request; faults in fine are none.
def many(calls, fine):
    if not calls:
        return []
    answers = daemon.system.multicall([{'methodName': name, 'params': params} for name, *params in calls])
    for answer, call in zip(answers, calls):
        if isinstance(answer, dict) and 'faultCode' in answer and answer['faultCode'] not in fine:
            raise xmlrpc.client.Fault(answer['faultCode'], '%s (%s)' % (answer['faultString'], ' '.join(map(str, call))))
    return answers

def start(names):
    many([['supervisor.startProcess', prefix + name, False] for name in names], (60, 50))

def until(check, seconds):
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.02)

def stop(names, seconds):
    # One that is between two tries has no process, and would get one.
    before = [(name, info['pid']) for name, info in processes().items() if name in names and not is_down(info)]
    if not before:
        return
    begun = time.monotonic()
    many([['supervisor.stopProcess', prefix + name, False] for name in names], (70, 10))
    def down():
        now = processes()
        return all(is_down(now.get(name)) for name in names)
    if not until(down, seconds + 20):
        stopped('not-stopped', programs=sorted(names), seconds=seconds + 20)
    if time.monotonic() - begun < seconds * 0.9:
        return
    # "stopped" is said of what was killed, too: the daemon's log is what tells.
    log = daemon.supervisor.readLog(-8192, 0)
    for name, pid in before:
        if "killing '%s' (%d) with SIGKILL" % (prefix + name, pid) in log:
            emit(warning='%s (pid %d) did not finish within %d s and was killed' % (name, pid, seconds))

def start_time(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            fields = file.read().rpartition(') ')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else fields[19]

# A program is well before its startsecs are over where its process is past the start script, and has done nothing but
# wait for a quarter of a second: it has begun, and waits for work. One that is busy is given its startsecs.
idle_for = 0.25
seen = {}

def waits(info):
    pid = info['pid']
    try:
        with open('/proc/%d/stat' % pid) as file:
            fields = file.read().rpartition(') ')[2].split()
        with open('/proc/%d/cmdline' % pid, 'rb') as file:
            words = file.read().split(b'\\0')
    except OSError:
        return False
    now = (pid, fields[19], fields[11], fields[12], words)
    still = fields[0] == 'S' and (plan['dir'] + '/bin/start').encode() not in words
    since, before = seen.get(info['name'], (None, None))
    if not still or before != now:
        since = time.monotonic()
    seen[info['name']] = since, now
    return still and time.monotonic() - since >= idle_for

def has_begun(info):
    return state(info) == 'RUNNING' or (state(info) == 'STARTING' and waits(info))

# The processes of the release as the kernel knows them, whoever started them.
def living(names):
    found = []
    mark = ('SLIPWAY_PROCESS=' + plan['dir'] + ':').encode()
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open('/proc/' + entry + '/environ', 'rb') as file:
                words = file.read().split(b'\\0')
        except OSError:
            continue
        name = next((word[len(mark):].decode() for word in words if word.startswith(mark)), None)
        begun = start_time(int(entry)) if name in names else None
        if begun is not None:
            found.append((int(entry), begun, name))
    return found

def send(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass

def end_survivors(names, seconds):
    left = living(names)
    if not left:
        return
    for pid, begun, name in left:
        send(pid, signal.SIGTERM)
    until(lambda: not any(start_time(pid) == begun for pid, begun, name in left), seconds)
    for pid, begun, name in left:
        if start_time(pid) == begun:
            send(pid, signal.SIGKILL)
            emit(warning='%s (pid %d) did not finish within %d s and was killed' % (name, pid, seconds))
    if not until(lambda: not living(names), 5):
        stopped('not-ended', programs=sorted(set(name for pid, begun, name in living(names))))

# Added and removed programs are taken up; changed ones that are down, too.
def reload():
    answer, infos = many([['supervisor.reloadConfig'], ['supervisor.getAllProcessInfo']], ())
    # What else the system's daemon has found changed is for whoever changed it.
    added, changed, removed = [[group for group in groups if group.startswith(prefix)] for groups in answer[0]]
    down = set(info['group'] for info in ours(infos).values() if is_down(info))
    again = [group for group in changed if group in down]
    calls = [['supervisor.removeProcessGroup', group] for group in removed if group in down]
    for group in again:
        calls += [['supervisor.removeProcessGroup', group], ['supervisor.addProcessGroup', group]]
    calls += [['supervisor.addProcessGroup', group] for group in added]
    many(calls, (90, 10))

def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.new', 'w') as file:
        file.write(text)
    os.replace(path + '.new', path)

def replace_link(target, link):
    os.makedirs(os.path.dirname(link), exist_ok=True)
    beside = '%s.%d' % (link, os.getpid())
    if os.path.lexists(beside):
        os.unlink(beside)
    os.symlink(target, beside)
    os.replace(beside, link)
    if os.readlink(link) != target:
        raise OSError('%s points at %s' % (link, os.readlink(link)))

def healthy(path, health, expected):
    connection = UnixConnection(path, 5)
    try:
        connection.request('GET', health['path'], headers={'Connection': 'close'})
        answer = connection.getresponse()
        body = answer.read(1024 * 1024).decode('utf-8', 'replace')
    except (OSError, http.client.HTTPException) as error:
        return False, 'no answer: %s' % error, None
    finally:
        connection.close()
    release = answer.getheader('x-release')
    shown = ' '.join(body.strip()[:200].split('\\n')[:3])
    shown = ': ' + shown if shown else ''
    if answer.status != health['status']:
        return False, '%s answered %d, not %d%s' % (health['path'], answer.status, health['status'], shown), release
    if health.get('body') is not None and health['body'] not in body:
        return False, '%s answered without "%s"%s' % (health['path'], health['body'], shown), release
    if expected and release is not None and release != expected:
        return False, '%s was answered by %s, not %s' % (health['path'], release, expected), release
    return True, '%s answered %d%s' % (health['path'], answer.status, ' from ' + release if release else ''), release

def wait_healthy(slot):
    name, health = 'app-' + slot, plan['health']
    deadline, pid = time.monotonic() + health['deadlineMs'] / 1000, None
    while True:
        well, detail, release = healthy(plan['sockets'][slot], health, plan.get('expected'))
        info = processes().get(name)
        if well and is_up(info):
            return detail, release
        # It is RUNNING as soon as it is spawned: another pid says that the first one has ended.
        now = info['pid'] if info else 0
        pid = pid or now or None
        if pid and now and now != pid:
            stopped('unhealthy', slot=slot, why='it ended (pid %d)' % pid)
        if has_failed(info):
            stopped('unhealthy', slot=slot, why='it ended with status %s: %s' % (info['exitstatus'], said(info)))
        if time.monotonic() >= deadline:
            stopped('unhealthy', slot=slot, why='after %g s: %s' % (health['deadlineMs'] / 1000, detail))
        time.sleep(0.02)

# All went well: the line of the audit log that says so.
def finished(**more):
    if plan.get('audit'):
        path, line = plan['audit']
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, line.encode())
            os.close(handle)
            more['audited'] = True
        except OSError:
            pass
    stopped('ok', **more)

def server(infos):
    up = [slot for slot in 'ab' if is_up(infos.get('app-' + slot))]
    live = plan.get('liveSlot')
    old = live if live in up else (up[0] if up else None)
    slot = ('b' if old == 'a' else 'a') if old else (live or 'a')
    name = 'app-' + slot
    if not is_down(infos.get(name)):
        stop([name], plan['drainSeconds'])
    reload()
    def begin():
        guard()
        start([name])
        detail, release = wait_healthy(slot)
        if release is None:
            emit(note='the app sends no X-Release header: which version answers was not checked')
        return detail
    step('start ' + name, begin)
    def point():
        guard()
        replace_link(plan['sockets'][slot], plan['link'])
        write(plan['wanted'], '')
        for path, text in plan['records']:
            write(path, text)
    step('point the site at it', point)
    def drain():
        guard()
        stop(['app-' + old], plan['drainSeconds'])
        end_survivors(['app-' + old], 5)
    if old:
        step('drain app-' + old, drain)
    # RUNNING by the daemon's own measure: it has been up for startsecs.
    def settled():
        now = processes().get(name)
        return now if state(now) == 'RUNNING' or has_failed(now) else None
    info = until(settled, 10)
    if has_failed(info):
        stopped('died', slot=slot, why=said(info))
    if not info:
        stopped('not-running', slot=slot)
    finished(slot=slot)

def workers(infos):
    wanted = plan['programs']
    names = set(wanted) | set(name for name in infos if name not in ('app-a', 'app-b'))
    def drain():
        stop(names, plan['drainSeconds'])
        end_survivors(names, 5)
    step('stop the workers', drain)
    def begin():
        guard()
        reload()
        start(wanted)
        def settled():
            now = processes()
            if any(has_failed(now.get(name)) for name in wanted):
                return now
            return now if all([has_begun(now.get(name)) for name in wanted]) else None
        now = until(settled, 20) or processes()
        bad = [[name, state(now.get(name)), said(now[name]) if name in now else ''] for name in wanted if not has_begun(now.get(name))]
        if bad:
            stopped('worker-failed', bad=bad)
        if plan.get('wanted'):
            write(plan['wanted'], '')
    if wanted:
        step('start ' + ' '.join(wanted), begin)
    finished()

try:
    guard()
    try:
        infos = processes()
    except TimeoutError:
        stopped('silent')
    except (OSError, http.client.HTTPException):
        stopped('no-daemon')
    {'server': server, 'workers': workers}[action](infos)
except Stopped:
    pass
`
