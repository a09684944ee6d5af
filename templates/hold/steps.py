"""The steps of a change on this host, by kind. Each kind is a class with the same four functions:
  state(): 'done', 'todo' or 'unclear', from what is really there
  prepare(): what undo will need, read before anything changes
  do(kept): makes the change, may be repeated after 'todo'; returns more to keep, or None
  undo(kept): takes it back, as far as there is something to take back
A step is its entry in the specification, `self.spec`; `self.change` knows the deadline and the other steps."""
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import databases
import elsewhere
import ports
import reading
import servers
from adopted import processes_of
from journal import may_have_happened
from processes import (POLL, Daemon, Demand, Failure, Watch, clean_environment, command_environment, cpu_ms_of,
                       health_fault, healthy_on, marked, send, top_of, wait_for)
from sockets import connections_to


class Step:
    def __init__(self, change, spec):
        self.change = change
        self.spec = spec

    def prepare(self):
        return {}

    def undo(self, kept):
        return None


class Stop(Step):
    """Ends programs of a release and proves that no process of them is left. `sockets`: what has to be idle first."""

    def __init__(self, change, spec):
        super().__init__(change, spec)
        self.daemon = Daemon(spec['daemon'])

    def state(self):
        return 'todo' if self.daemon.running(self.spec['programs']) or self.left() else 'done'

    def left(self):
        return marked(self.daemon.folder, self.spec['programs'])

    def prepare(self):
        return {'running': self.daemon.running(self.spec['programs'])}

    def do(self, kept):
        began = time.monotonic()
        for path in self.spec.get('sockets', []):
            # Whatever was connected before the requests were held is answered first.
            wait_for(lambda: connections_to(path) == 0, self.change.at_most(self.spec['seconds']),
                     lambda: '%d requests to %s are still being served' % (connections_to(path), path))
        idle = time.monotonic()
        killed = self.daemon.stop(self.spec['programs'], self.change.at_most(self.spec['seconds']))
        result = {'idleMs': ms(began, idle), 'stopMs': ms(idle)}
        if killed:
            result['killed'] = killed
        return result

    def undo(self, kept):
        running = kept.get('running', [])
        if self.spec.get('holder'):
            # It needs the port that the requests wait at.
            self.change.step(self.spec['holder']).end()
        self.daemon.start(running, 20)
        health = self.spec.get('health')
        if health and running:
            healthy_on(health['socket'], health, health['release'], 30)


class StopAdopted(Step):
    """Ends an app that was deployed by hand, by its own command or by TERM, and proves that no process of it is left. What
    does not end is not killed: nobody here knows what it is at."""

    def processes(self):
        return processes_of(self.spec['folder'], self.spec['files'])

    def state(self):
        return 'todo' if self.processes() else 'done'

    def prepare(self):
        return {'running': sorted(self.processes().values())}

    def told(self):
        return self.change.path('told-%s' % self.spec['id'])

    def do(self, kept):
        began = time.monotonic()
        write_file(self.told(), '')
        if self.spec['stop']:
            run_command(['/bin/sh', '-c', self.spec['stop']], self.change.at_most(self.spec['seconds']), self.spec['folder'])
        else:
            for pid in top_of(list(self.processes())):
                send(pid, signal.SIGTERM)
        wait_for(lambda: not self.processes(), self.change.at_most(self.spec['seconds']),
                 lambda: 'what was deployed by hand still runs: %s' % '; '.join(sorted(self.processes().values())))
        return {'stopMs': ms(began)}

    def undo(self, kept):
        if not kept.get('running'):
            return
        # Told to end, it may not have ended yet, and would without anybody to start it again.
        end = time.monotonic() + (self.spec['seconds'] if os.path.exists(self.told()) else 0)
        while self.processes():
            if time.monotonic() > end:
                left = sorted(self.processes().values())
                if left != kept['running']:
                    raise Failure('of what was deployed by hand only a part is left, and still ends: %s' % '; '.join(left))
                return
            time.sleep(POLL)
        if self.spec.get('holder'):
            # It needs the port that the requests wait at.
            self.change.step(self.spec['holder']).end()
        # A daemon that it leaves keeps what it was given, so that is no pipe.
        with open(self.change.path('started-again.log'), 'ab') as log:
            done = subprocess.run(['/bin/sh', '-c', self.spec['start']], cwd=self.spec['folder'], stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, start_new_session=True, timeout=60, env=clean_environment())
        if done.returncode != 0:
            raise Failure('exit status %d: %s' % (done.returncode, self.spec['start']))


class Start(Step):
    """Starts programs of a release, and waits until its app is healthy, if it is one."""

    def __init__(self, change, spec):
        super().__init__(change, spec)
        self.daemon = Daemon(spec['daemon'])

    def state(self):
        if not all(name in self.daemon.running(self.spec['programs']) for name in self.spec['programs']):
            return 'todo'
        health = self.spec.get('health')
        if health:
            try:
                healthy_on(health['socket'], health, health['release'], 1)
            except Failure:
                return 'todo'
        return 'done'

    def do(self, kept):
        began = time.monotonic()
        self.daemon.start(self.spec['programs'], self.change.at_most(20))
        health = self.spec.get('health')
        if health:
            healthy_on(health['socket'], health, health['release'], self.change.at_most(health['deadline']))
        return {'startMs': ms(began)}

    def undo(self, kept):
        self.daemon.stop(self.spec['programs'], self.spec['seconds'])
        if self.spec.get('health') and 'trial' not in self.change.steps:
            # As the trial's undo does, which is not while requests wait.
            self.daemon.shutdown(20)


class Hold(Step):
    """Makes new requests wait: current.sock becomes a socket that listens and does not accept."""

    def holders(self):
        found = []
        for path in glob.glob(self.change.path('hold.json.pid.*')):
            pid = int(path.rpartition('.')[2])
            try:
                with open(path) as file, open('/proc/%d/stat' % pid) as status:
                    fields = status.read().rpartition(')')[2].split()
                    if fields[19] == file.read() and fields[0] != 'Z':
                        found.append(pid)
            except OSError:
                continue
        return found

    def state(self):
        if read_link(self.spec['link']) != self.spec['socket']:
            return 'todo'
        return 'done' if self.holders() else 'unclear'

    def prepare(self):
        return {'was': read_link(self.spec['link']), 'heldAt': time.monotonic()}

    def do(self, kept):
        for path in glob.glob(self.change.path('hold.json*')) + [self.spec['socket']]:
            databases.remove(path)
        self.change.begin_deadline(kept['heldAt'])
        hold = {
            'socket': self.spec['socket'],
            'backlog': self.spec['backlog'],
            'deadline': self.spec['seconds'] + 120,
            'lock': self.change.path('window.lock'),
            'recover': [self.change.python, self.change.path('window.py'), 'recover'],
        }
        write_file(self.change.path('hold.json'), json.dumps(hold))
        with open(self.change.path('hold.log'), 'ab') as log:
            subprocess.Popen([self.change.python, self.change.path('hold.py'), self.change.path('hold.json')], cwd='/',
                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                             env=clean_environment())
        wait_for(lambda: os.path.exists(self.spec['socket']) and len(self.holders()) >= 2, 10, 'requests can not be held')
        link(self.spec['socket'], self.spec['link'])
        return {}

    def undo(self, kept):
        was = kept.get('was')
        if was and read_link(self.spec['link']) == self.spec['socket']:
            link(was, self.spec['link'])
        if was:
            let_go(self, was)


class LetGo(Step):
    """Relays the requests that wait to the new app, until none is left."""

    def state(self):
        return 'todo' if self.hold().holders() else 'done'

    def hold(self):
        return self.change.step(self.spec['hold'])

    def do(self, kept):
        held_at = self.change.journal.records()[self.spec['hold']]['data']['heldAt']
        window = ms(held_at)
        let_go(self.hold(), self.spec['socket'])
        return {'windowMs': window}


def let_go(hold, socket):
    link(socket, hold.change.path('hold.json.target'))
    wait_for(lambda: not hold.holders(), 60, 'requests are still being relayed')
    databases.remove(hold.spec['socket'])


class Close(Step):
    """The site answers 503 with Retry-After, but to the gate: where requests are not held. A file tells it so."""

    def state(self):
        return 'done' if os.path.exists(self.spec['file']) else 'todo'

    def prepare(self):
        return {'heldAt': time.monotonic()}

    def do(self, kept):
        write_file(self.spec['file'], 'promotion %s\n' % self.change.id)

    def undo(self, kept):
        databases.remove(self.spec['file'])


class Open(Step):
    """Ends what Close began; a site that was closed before stays so."""

    def state(self):
        return 'todo' if os.path.exists(self.spec['file']) and self.ours() else 'done'

    def ours(self):
        record = self.change.journal.records().get(self.spec['close'])
        return record is not None and not record['data'].get('found')

    def do(self, kept):
        window = ms(self.change.journal.records()[self.spec['close']]['data']['heldAt'])
        databases.remove(self.spec['file'])
        return {'windowMs': window}


class Fence(Step):
    """Renames databases and spools, so that whoever does not know of this change can't write to them any more."""

    def fenced(self, path):
        return '%s.fenced-%s' % (path, self.change.id)

    def state(self):
        moved = [os.path.exists(self.fenced(item['path'])) for item in self.spec['items']]
        there = [os.path.exists(item['path']) for item in self.spec['items']]
        if all(moved):
            return 'done'
        return 'unclear' if any(moved) and not all(there) else 'todo'

    def do(self, kept):
        for item in self.spec['items']:
            path = item['path']
            if os.path.exists(self.fenced(path)):
                continue
            if item['kind'] == 'sqlite':
                databases.settle(path)
                # A process that was just stopped may still be letting go.
                wait_for(lambda: not databases.openers(path), self.change.at_most(3),
                         lambda: '%s is still open in %s' % (path, ', '.join(databases.openers(path))))
            elif not os.path.exists(path):
                os.makedirs(path)
            rename(item, path, self.fenced(path))
        for folder in sorted({os.path.dirname(item['path']) for item in self.spec['items']}):
            databases.sync_folder(folder)

    def undo(self, kept):
        for item in self.spec['items']:
            path = item['path']
            if not os.path.exists(self.fenced(path)):
                continue
            if os.path.lexists(path):
                rename(item, path, stray_of(self, path))
            rename(item, self.fenced(path), path)


def stray_of(step, path):
    """Where that goes which somebody has made in a place meanwhile: kept, and not served."""
    return '%s.stray-%s-%d' % (path, step.change.id, time.time())


def rename(item, source, target):
    for companion in reversed(databases.COMPANIONS) if item['kind'] == 'sqlite' else ('',):
        if os.path.lexists(source + companion):
            os.rename(source + companion, target + companion)


class Copy(Step):
    """Copies what was fenced to its new place, checked, then renamed there. What somebody has made in that place meanwhile
    goes aside: it is not the copy."""

    def state(self):
        record = self.change.journal.records().get(self.spec['id'])
        if not may_have_happened(record) or list(self.in_the_way(record['data'])):
            return 'todo'
        return 'done' if all(os.path.exists(item['to']) for item in self.spec['items']) else 'todo'

    def prepare(self):
        found = [item['to'] for item in self.spec['items'] if os.path.lexists(item['to'])]
        return {'stray': {path: stray_of(self, path) for path in found}}

    def in_the_way(self, kept):
        for item in self.spec['items']:
            stray = kept.get('stray', {}).get(item['to'])
            if stray and not os.path.lexists(stray):
                yield item, stray

    def put_aside(self, kept):
        for item, stray in self.in_the_way(kept):
            rename(item, item['to'], stray)

    def do(self, kept):
        began, total, written, parts = time.monotonic(), 0, 0, {}
        self.put_aside(kept)
        for item in self.spec['items']:
            item_began = time.monotonic()
            source = '%s.fenced-%s' % (item['from'], self.change.id)
            os.makedirs(os.path.dirname(item['to']), exist_ok=True)
            if os.path.exists(item['to']):
                continue
            self.change.check_deadline()
            if item['kind'] == 'sqlite':
                size, changed = databases.final_copy(source, item.get('earlier'), item['to'])
                total, written = total + size, written + changed
            else:
                databases.copy_tree(source, item.get('earlier'), item['to'])
            parts[os.path.basename(item['to'])] = ms(item_began)
        return {'copyMs': ms(began), 'bytes': total, 'written': written, 'parts': parts}

    def undo(self, kept):
        self.put_aside(kept)
        for item in self.spec['items']:
            discard(item['to'])
            discard(item['to'] + '.new')


class Move(Step):
    """Puts files out of the way, by renaming: `moves` of {from, to}."""

    def state(self):
        waiting = [os.path.lexists(move['from']) and not os.path.lexists(move['to']) for move in self.spec['moves']]
        moved = [os.path.lexists(move['to']) for move in self.spec['moves']]
        if not any(waiting):
            return 'done'
        return 'unclear' if any(moved) else 'todo'

    def do(self, kept):
        for move in self.spec['moves']:
            if os.path.lexists(move['from']) and not os.path.lexists(move['to']):
                os.makedirs(os.path.dirname(move['to']), exist_ok=True)
                os.rename(move['from'], move['to'])

    def undo(self, kept):
        for move in self.spec['moves']:
            if not os.path.lexists(move['to']):
                continue
            if os.path.lexists(move['from']):
                rename({'kind': 'sqlite'}, move['from'], stray_of(self, move['from']))
            os.makedirs(os.path.dirname(move['from']), exist_ok=True)
            os.rename(move['to'], move['from'])


class Link(Step):
    """Replaces symlinks: `links` of {path, target}; a null target removes it."""

    def state(self):
        right = [read_link(entry['path']) == entry['target'] for entry in self.spec['links']]
        return 'done' if all(right) else 'unclear' if any(right) and len(right) > 1 else 'todo'

    def prepare(self):
        return {'was': {entry['path']: read_link(entry['path']) for entry in self.spec['links']}}

    def do(self, kept):
        for entry in self.spec['links']:
            link(entry['target'], entry['path'])

    def undo(self, kept):
        for path, target in kept.get('was', {}).items():
            link(target, path)


class Flip(Link):
    """The moment after which real requests reach the new app: one rename."""


class Files(Step):
    """Replaces small files by what was prepared beside them: `files` of {path, from}; keeps their text for undo."""

    def state(self):
        right = [same(entry['path'], entry['from']) for entry in self.spec['files']]
        return 'done' if all(right) else 'unclear' if any(right) and len(right) > 1 else 'todo'

    def prepare(self):
        kept = {}
        for index, entry in enumerate(self.spec['files']):
            if os.path.exists(entry['path']):
                # Beside the journal and not in it: settings hold secrets.
                copy = self.change.path('was-%s-%d' % (self.spec['id'], index))
                shutil.copy2(entry['path'], copy)
                kept[entry['path']] = copy
            else:
                kept[entry['path']] = None
        return {'was': kept}

    def do(self, kept):
        for entry in self.spec['files']:
            replace_by(entry['from'], entry['path'])

    def undo(self, kept):
        for path, copy in kept.get('was', {}).items():
            if copy is None:
                databases.remove(path)
            else:
                replace_by(copy, path)


class Command(Step):
    """Runs a command of the app in its version; what it changes is taken back by other steps."""

    def state(self):
        record = self.change.journal.records().get(self.spec['id'])
        return 'done' if record and record['direction'] == 'do' and record['ok'] else 'todo'

    def do(self, kept):
        began, before = time.monotonic(), {}
        if self.spec.get('before'):
            # What was applied until now: how far going back would have to reverse.
            before = {'before': run_command(self.spec['before'], self.change.at_most(60), self.spec['folder']).split('\n')}
        run_command(self.spec['argv'], self.change.at_most(self.spec['seconds']), self.spec['folder'])
        return dict(before, commandMs=ms(began))

    def undo(self, kept):
        for path in self.spec.get('made', []):
            discard(path)


def run_command(argv, seconds, folder):
    try:
        done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=seconds, env=command_environment())
    except subprocess.TimeoutExpired:
        raise Failure('it did not end within %.0f s: %s' % (seconds, argv[-1]))
    if done.returncode != 0:
        text = done.stdout.decode(errors='replace').strip()
        raise Failure('exit status %d: %s\n%s' % (done.returncode, argv[-1], '\n'.join(text.split('\n')[-20:])))
    return done.stdout.decode(errors='replace').strip()


class Rehearse(Step):
    """Copies the databases while the app writes, checks them from end to end, and times it."""

    def state(self):
        if not may_have_happened(self.change.journal.records().get(self.spec['id'])):
            return 'todo'
        if all(os.path.exists(item['to']) for item in self.spec['items']):
            return 'done'
        # Cut short, or the window has taken some of them for its own copies.
        left = [path for item in self.spec['items'] for path in (item['to'], item['to'] + '.new') if os.path.lexists(path)]
        return 'unclear' if left else 'todo'

    def do(self, kept):
        timings = {}
        for item in self.spec['items']:
            os.makedirs(os.path.dirname(item['to']), exist_ok=True)
            began = time.monotonic()
            if item['kind'] == 'tree':
                os.makedirs(item['from'], exist_ok=True)
                discard(item['to'] + '.new')
                databases.sync_files(databases.mirror(item['from'], item['to'] + '.new'))
                discard(item['to'])
                os.rename(item['to'] + '.new', item['to'])
                timings[item['name']] = {'copyMs': ms(began)}
                continue
            databases.backup(item['from'], item['to'])
            copied = time.monotonic()
            databases.check(item['to'], full=True)
            timings[item['name']] = {'bytes': os.path.getsize(item['to']), 'copyMs': ms(began, copied), 'checkMs': ms(copied)}
        return timings

    def undo(self, kept):
        for item in self.spec['items']:
            discard(item['to'])
            discard(item['to'] + '.new')


class Trial(Step):
    """The window once before the window: copy, migrate, start, gate, on the rehearsal's copies. Predicts its length."""

    def __init__(self, change, spec):
        super().__init__(change, spec)
        self.daemon = Daemon(spec['daemon'])
        self.result = change.path('trial.json')

    def state(self):
        if os.path.exists(self.result):
            return 'done'
        placed = any(os.path.lexists(item['to']) for item in self.spec['items'])
        renamed = any(os.path.exists(self.change.path('trial-was-%d' % index)) for index in range(len(self.spec.get('files', []))))
        return 'unclear' if placed or renamed or self.daemon.running(self.spec['programs']) else 'todo'

    def do(self, kept):
        timings = {}
        health = self.spec['health']
        if not self.on_copies():
            # The app would work on the real database: nothing is tried then.
            write_file(self.result, json.dumps({'leftOut': True}))
            return {'leftOut': True}
        try:
            for item in self.spec['items']:
                os.makedirs(os.path.dirname(item['to']), exist_ok=True)
                if item['kind'] == 'sqlite':
                    shutil.copy2(item['earlier'], item['to'])
                else:
                    os.makedirs(item['to'], exist_ok=True)
            # What the window has to do with each database: read both copies, write what differs, check it.
            demand = Demand(self.spec['demand'])
            watch = Watch()
            self.compare()
            timings['copyMs'], timings['copyCpuMs'], timings['serverMs'] = watch.ms(), watch.cpu_ms(), self.server_ms()
            if self.spec.get('reads'):
                # In the window, the old app starts once more, on snapshots.
                watch = Watch()
                for item in self.spec['items']:
                    if item['kind'] == 'sqlite':
                        reading.snapshot(item['earlier'], item['to'] + '.reads')
                        reading.discard(item['to'])
                timings['snapshotMs'], timings['snapshotCpuMs'] = watch.ms(), watch.cpu_ms()
            watch = Watch()
            if self.spec.get('migrate'):
                run_command(self.spec['migrate'], self.spec['seconds'], self.daemon.folder)
            timings['migrateMs'], timings['migrateCpuMs'] = watch.ms(), watch.cpu_ms()
            self.daemon.ensure()
            watch = Watch()
            self.daemon.start(self.spec['programs'], 20)
            healthy_on(health['socket'], health, health['release'], health['deadline'])
            timings['startMs'] = watch.ms()
            timings['startCpuMs'] = watch.cpu_ms() + cpu_ms_of(marked(self.daemon.folder, self.spec['programs']))
            timings['freed'] = demand.share(sum(value for name, value in timings.items() if name.endswith('CpuMs')))
            watch = Watch()
            self.daemon.stop(self.spec['programs'], self.spec['stop'])
            timings['stopMs'], timings['stopCpuMs'] = watch.ms(), watch.cpu_ms()
        finally:
            self.clear()
        write_file(self.result, json.dumps(timings))
        return timings

    def on_copies(self):
        """Names the rehearsal's copies where the app reads which database on a server is its own. False: not found."""
        changed, found = {}, set()
        for path in self.spec.get('files', []) if self.spec.get('servers') else []:
            if not os.path.exists(path):
                continue
            with open(path) as file:
                text = file.read()
            for server in self.spec['servers']:
                pattern = r'''((?:postgres(?:ql)?|mysql2?|mariadb)(?:\+\w+)?://[^\s"']*/)%s(?=[\s"'?]|$)''' % re.escape(server['database'])
                text, count = re.subn(pattern, lambda match: match.group(1) + server['scratch'], text, flags=re.M)
                if count:
                    changed[path] = text
                    found.add(server['name'])
        if len(found) < len(self.spec.get('servers', [])):
            return False
        for index, path in enumerate(self.spec.get('files', [])):
            if path in changed:
                shutil.copy2(path, self.change.path('trial-was-%d' % index))
                write_file(os.path.realpath(path), changed[path])
        return True

    def names_back(self):
        for index, path in enumerate(self.spec.get('files', [])):
            kept = self.change.path('trial-was-%d' % index)
            if os.path.exists(kept):
                replace_by(kept, os.path.realpath(path))
                os.unlink(kept)

    def server_ms(self):
        """What the copy in the window took at the rehearsal."""
        try:
            with open(self.change.path('rehearsed-servers.json')) as file:
                return sum(entry['windowMs'] for entry in json.load(file).values())
        except FileNotFoundError:
            return 0

    def compare(self):
        for item in self.spec['items']:
            if item['kind'] == 'sqlite':
                script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'copy_blocks.py')
                subprocess.run([self.change.python, script, item['earlier'], item['to']], check=True, stdout=subprocess.DEVNULL)
                databases.check(item['to'], full=False)
            else:
                # Spools: both are listed, and their folders brought to disk; little of them changes meanwhile.
                databases.listing(item['earlier'])
                databases.listing(item['earlier'])
                for at, _, _ in os.walk(item['earlier']):
                    databases.sync_folder(at)

    def clear(self):
        self.daemon.stop(self.daemon.running(self.spec['programs']), self.spec['stop'])
        self.names_back()
        for item in self.spec['items']:
            discard(item['to'])
            databases.remove(item['to'] + '.reads')

    def undo(self, kept):
        self.clear()
        # It runs with production's settings; the next that is started in it are staging's.
        self.daemon.shutdown(20)
        databases.remove(self.result)


class Gate(Step):
    """The new production answers through the front door, on the way that only the gate can take, K times in a row."""

    def state(self):
        record = self.change.journal.records().get(self.spec['id'])
        return 'done' if record and record['direction'] == 'do' and record['ok'] else 'todo'

    def do(self, kept):
        began = time.monotonic()
        if self.spec.get('direct') or not self.spec['socket'].startswith('port:'):
            if not self.spec.get('direct'):
                link(self.spec['socket'], self.spec['link'])
            self.knock()
        else:
            # The web server's way for the gate is a socket.
            door = ports.Door(self.change.path('gate.sock'), self.spec['socket'])
            try:
                link(door.path, self.spec['link'])
                self.knock()
            finally:
                link(None, self.spec['link'])
                door.close()
        return {'gateMs': ms(began)}

    def knock(self):
        from clients import ask
        last, streak = ['no answer yet'], [0]

        def once():
            try:
                answer = ask(self.connection(), self.spec['health']['path'],
                             {'Host': self.spec['host'], 'X-Slipway-Gate': self.spec['token']})
                fault = health_fault(answer, self.spec['health'], self.spec['health']['release'])
            except OSError as error:
                fault = str(error)
            last[0], streak[0] = fault, 0 if fault else streak[0] + 1
            return streak[0] >= self.spec['times']

        wait_for(once, self.change.at_most(self.spec['seconds']),
                 lambda: 'the new app is not reached through %s: %s' % (self.spec['host'], last[0]))

    def connection(self):
        from clients import connection_through, connection_to
        if self.spec.get('direct'):
            return connection_to(self.spec['socket'], 5)
        name = self.spec['host'].partition(':')[0] if self.spec['tls'] else None
        return connection_through(self.spec['address'], self.spec['port'], name, 5)

    def undo(self, kept):
        link(None, self.spec['link'])


class Roles(Step):
    """The host's own record of which release is production: `set` and `unset`; the rest stays."""

    def state(self):
        roles = self.read()
        right = all(roles.get(name) == value for name, value in self.spec['set'].items())
        return 'done' if right and not any(name in roles for name in self.spec['unset']) else 'todo'

    def read(self):
        try:
            with open(self.spec['path']) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def prepare(self):
        return {'was': self.read()}

    def do(self, kept):
        roles = {name: value for name, value in self.read().items() if name not in self.spec['unset']}
        roles.update(self.spec['set'])
        write_file(self.spec['path'], json.dumps(roles, separators=(',', ':')) + '\n')

    def undo(self, kept):
        if 'was' in kept:
            write_file(self.spec['path'], json.dumps(kept['was'], separators=(',', ':')) + '\n')


class Retire(Step):
    """Ends a release's daemon, which has nothing left to run."""

    def __init__(self, change, spec):
        super().__init__(change, spec)
        self.daemon = Daemon(spec['daemon'])

    def state(self):
        return 'todo' if self.daemon.is_up() else 'done'

    def do(self, kept):
        for path in self.spec.get('sockets', []):
            try:
                wait_for(lambda: connections_to(path) == 0, self.spec['seconds'], 'still busy')
            except Failure:
                pass
        self.daemon.stop(self.spec['programs'], self.spec['seconds'])
        self.daemon.shutdown(20)


class Boot(Step):
    """Should the host be restarted now, it makes good what was under way: a line in its crontab, for so long."""

    wanted = True

    def line(self):
        words = ' '.join(shlex.quote(word) for word in (self.change.python, self.change.path('window.py'), 'recover'))
        return '@reboot %s # slipway promotion' % words.replace('%', '\\%')

    def lines(self):
        """None: there is no crontab to be had."""
        try:
            done = subprocess.run(['crontab', '-l'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError:
            return None
        if done.returncode != 0 and b'no crontab' not in done.stderr:
            return None
        return done.stdout.decode().split('\n')[:-1] if done.returncode == 0 else []

    def state(self):
        lines = self.lines()
        return 'done' if lines is None or (self.line() in lines) == self.wanted else 'todo'

    def do(self, kept):
        self.write(self.wanted)

    def undo(self, kept):
        self.write(not self.wanted)

    def write(self, wanted):
        lines = self.lines()
        if lines is None:
            return
        after = [line for line in lines if line != self.line()] + ([self.line()] if wanted else [])
        if after != lines:
            subprocess.run(['crontab', '-'], input=''.join(line + '\n' for line in after).encode(), check=True)


class Unboot(Boot):
    """Takes that line out again."""

    wanted = False


class Discard(Step):
    """Removes what only the change itself needed."""

    def state(self):
        return 'todo' if any(os.path.lexists(path) for path in self.spec['paths']) else 'done'

    def do(self, kept):
        for path in self.spec['paths']:
            discard(path)


KINDS = {
    'stop': Stop, 'stop-adopted': StopAdopted, 'start': Start, 'hold': Hold, 'let-go': LetGo, 'close': Close, 'open': Open,
    'fence': Fence, 'copy': Copy, 'move': Move, 'link': Link,
    'flip': Flip, 'files': Files, 'command': Command, 'rehearse': Rehearse, 'trial': Trial, 'gate': Gate, 'roles': Roles,
    'boot': Boot, 'unboot': Unboot, 'retire': Retire, 'discard': Discard,
}


KINDS.update(ports.steps(Hold, Flip, Step, lambda target, path: link(target, path)))
KINDS.update(reading.steps(Step, Stop, Fence, lambda target, path: link(target, path), lambda path: read_link(path),
                           lambda path, text: write_file(path, text)))
KINDS.update(servers.steps(Step, lambda path, text: write_file(path, text)))
KINDS.update(elsewhere.steps(Step, lambda path, text: write_file(path, text)))


def ms(began, ended=None):
    return round(((time.monotonic() if ended is None else ended) - began) * 1000)


def read_link(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


def link(target, path):
    """Points a symlink somewhere in one rename; None removes it."""
    if target is None:
        databases.remove(path)
        return
    beside = '%s.new' % path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    databases.remove(beside)
    os.symlink(target, beside)
    os.rename(beside, path)


def write_file(path, text):
    beside = path + '.new'
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, path)


def replace_by(source, path):
    beside = path + '.new'
    shutil.copy2(source, beside)
    databases.sync(beside)
    os.rename(beside, path)


def same(path, other):
    try:
        with open(path, 'rb') as one, open(other, 'rb') as two:
            return one.read() == two.read()
    except OSError:
        return False


def discard(path):
    """Removes a file with its database companions, or a folder."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        return
    for companion in databases.COMPANIONS:
        databases.remove(path + companion)
