"""A change on this host. Lies in a folder of its own beside the change's journal, with spec.json.

    window.py state|do|undo STEP           one step, for the operator's tool: prints JSON
    window.py forward                      the window, from its first step to its last; goes back by itself on a failure
    window.py back                         the window, taken back
    window.py recover                      after a crash: forward if the point of no return was passed, otherwise back
    window.py start forward|back           one of these, detached, and recovered should it be killed
    window.py settle forward|back          whether somebody is at the window: `running`, at another step: `step`, or `free`;
                                           with back, asks those at the window to go back
    window.py watch                        prints the journal as it grows, until nobody works on the window any more
"""
import fcntl
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
# On a full disk Python may leave half a file of bytecode, and then fails on it (python/cpython#126606).
sys.dont_write_bytecode = True

from elsewhere import ended  # noqa: E402
from journal import Journal, may_have_happened  # noqa: E402
from processes import POLL, Failure, end_left_over  # noqa: E402


class Change:
    def __init__(self):
        # Who only watches or starts does without: it is most of what there is to compile.
        from steps import KINDS
        with open(self.path('spec.json')) as file:
            self.spec = json.load(file)
        self.id = self.spec['id']
        self.python = sys.executable
        self.journal = Journal(self.spec['journal'])
        self.deadline = None
        self.steps = {spec['id']: KINDS[spec['kind']](self, spec) for spec in self.spec['steps'] if spec['kind'] in KINDS}
        self.window = [spec['id'] for spec in self.spec['steps'] if spec.get('window')]

    def path(self, name):
        return os.path.join(HERE, name)

    def step(self, id):
        return self.steps[id]

    def begin_deadline(self, held_at):
        """From now on there is an end by which the requests that wait have to be let go."""
        self.deadline = held_at + self.spec['deadline']

    def check_deadline(self):
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Failure('the window was open for longer than %d s' % self.spec['deadline'])

    def at_most(self, seconds):
        """`seconds`, or what is left until the deadline."""
        self.check_deadline()
        return seconds if self.deadline is None else min(seconds, max(0.1, self.deadline - time.monotonic()))

    def is_past_return(self):
        id = self.spec.get('pointOfNoReturn')
        return id is not None and self.steps[id].state() == 'done' and may_have_happened(self.journal.records().get(id))

    def reserve(self):
        """Space that going back needs on a disk that is full by then."""
        fd = os.open(self.path('reserve'), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, 8 << 20)
        finally:
            os.close(fd)

    def give_reserve_back(self):
        try:
            os.unlink(self.path('reserve'))
        except FileNotFoundError:
            pass

    def forward(self):
        # Before requests wait, not while they do.
        import clients  # noqa: F401
        import concurrent.futures.thread  # noqa: F401
        past = self.is_past_return()
        if not past:
            self.reserve()
        for id in self.window:
            # The new app may have gone meanwhile, with the whole host; what was before it is not to be done again.
            before = self.window.index(id) < self.window.index(self.spec['pointOfNoReturn'])
            if past and before and self.steps[id].spec['kind'] != 'start':
                continue
            try:
                if self.is_asked_back():
                    self.journal.append(entry='note', text='an operator asked the host to go back')
                    raise Failure('an operator asked the host to go back')
                self.perform(id)
            except Exception as error:
                if self.is_past_return():
                    raise
                self.back()
                self.journal.append(entry='note', text='window taken back')
                raise error
            if id == self.spec.get('pointOfNoReturn'):
                self.deadline = None
                self.give_reserve_back()

    def is_asked_back(self):
        return os.path.exists(self.path('go-back')) and not self.is_past_return()

    def perform(self, id):
        step, record, began = self.steps[id], self.journal.records().get(id), time.monotonic()
        try:
            state = step.state()
            done_before = record and record['direction'] == 'do' and record['ok']
            if state == 'done':
                if not done_before:
                    kept = record['data'] if may_have_happened(record) else {'found': True}
                    self.journal.outcome(id, 'do', True, 0, kept)
                if id == 'hold' and record and 'heldAt' in record['data']:
                    self.begin_deadline(record['data']['heldAt'])
                return
            self.check_deadline()
            if state == 'unclear' and may_have_happened(record):
                step.undo(record['data'])
            interrupted = may_have_happened(record) and record['data'] and not record['data'].get('found')
            kept = record['data'] if interrupted else step.prepare()
            if id == 'hold':
                kept = dict(kept, heldAt=time.monotonic())
            if record and not interrupted:
                kept = dict(kept, found=False)
            self.journal.intent(id, 'do', kept)
            pause(id, 'before')
            data = step.do(kept)
            pause(id, 'after')
            self.journal.outcome(id, 'do', True, elapsed(began), data)
        except Exception as error:
            self.journal.outcome(id, 'do', False, elapsed(began), None, message_of(error))
            raise

    def back(self):
        self.deadline = None
        self.give_reserve_back()
        for id in reversed(self.window):
            record = self.journal.records().get(id)
            if not may_have_happened(record):
                continue
            began = time.monotonic()
            if record['data'].get('found') is True:
                self.journal.outcome(id, 'undo', True, 0)
                continue
            self.journal.intent(id, 'undo', None)
            try:
                self.steps[id].undo(record['data'])
                self.journal.outcome(id, 'undo', True, elapsed(began))
            except Exception as error:
                # Requests must not be let go to an app that is not there: here an operator is needed.
                self.journal.outcome(id, 'undo', False, elapsed(began), None, message_of(error))
                raise


def pause(id, when):
    """For tests of what happens when something dies here: waits where the file `pause` says, until it is gone."""
    path = os.path.join(HERE, 'pause')
    if not os.path.exists(path):
        return
    with open(path) as file:
        if file.read() != '%s %s' % (id, when):
            return
    os.rename(path, os.path.join(HERE, 'paused'))
    while os.path.exists(os.path.join(HERE, 'paused')):
        time.sleep(0.01)


def elapsed(began):
    return round((time.monotonic() - began) * 1000)


def message_of(error):
    return str(error) if isinstance(error, Failure) else '%s: %s' % (type(error).__name__, error)


def take_lock(seconds):
    """Nobody else works on this window while the descriptor is open."""
    return wait_for_lock(os.open(os.path.join(HERE, 'window.lock'), os.O_RDWR | os.O_CREAT, 0o600), seconds)


def take_step_lock(seconds):
    """Nobody else is at a single step. The folder itself is locked: no file has to be made, on a disk that may be full."""
    return wait_for_lock(os.open(HERE, os.O_RDONLY), seconds)


def wait_for_lock(fd, seconds):
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError:
            if time.monotonic() > end:
                os.close(fd)
                return None
            time.sleep(POLL)


def run_window(verb):
    lock = take_lock(5)
    if lock is None:
        return
    change = Change()
    end_left_over()
    if verb == 'recover':
        records = change.journal.records()
        begun = [records[id] for id in change.window if may_have_happened(records.get(id))]
        complete = len(begun) == len(change.window) and all(record['ok'] for record in begun)
        if not begun or complete or change.journal.read()[-1]['entry'] == 'end':
            return
        verb = 'forward' if change.is_past_return() else 'back'
        change.journal.append(entry='note', text='the script was gone: the host goes %s by itself' % verb)
    if verb == 'back' and change.is_past_return():
        raise Failure('the point of no return was passed')
    change.forward() if verb == 'forward' else change.back()
    change.journal.append(entry='note', text='window %s' % ('done' if verb == 'forward' else 'taken back'))


def start(verb):
    """Runs `verb` detached from this terminal, connection and process group; returns once it holds the lock."""
    lock = take_lock(0)
    if lock is None:
        print('running')
        return
    os.close(lock)
    try:
        os.unlink(os.path.join(HERE, 'go-back'))
    except FileNotFoundError:
        pass
    with open(os.path.join(HERE, 'window.log'), 'ab') as log:
        child = subprocess.Popen([sys.executable, os.path.abspath(__file__), 'guard', verb], cwd='/', stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, start_new_session=True)
    while child.poll() is None:
        lock = take_lock(0)
        if lock is None:
            break
        os.close(lock)
        time.sleep(POLL)
    print('started')


def settle(direction):
    """Somebody may be at the window; going back is asked for by a symlink, which can be made on a disk that is full. Or
    at a single step still, for a run whose connection was lost: that comes to its end."""
    step = take_step_lock(0)
    if step is None:
        print('step')
        return
    os.close(step)
    lock = take_lock(0)
    if lock is not None:
        os.close(lock)
        print('free')
        return
    if direction == 'back' and not os.path.lexists(os.path.join(HERE, 'go-back')):
        os.symlink('.', os.path.join(HERE, 'go-back'))
    print('running')


def guard(verb):
    """Runs `verb`; should it die of a signal, runs what makes good after a crash."""
    for each in (verb, 'recover', 'recover'):
        if subprocess.run([sys.executable, os.path.abspath(__file__), each], stdin=subprocess.DEVNULL).returncode >= 0:
            return


def watch():
    """Prints whole lines of the journal from now on, until the window's lock has been free for a while."""
    with open(os.path.join(HERE, 'spec.json')) as file:
        path = json.load(file)['journal']
    offset = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    free = 0
    while True:
        # The lock is looked at first, so that what was written before it was let go is still printed.
        lock = take_lock(0)
        if lock is not None:
            os.close(lock)
        with open(path, 'rb') as file:
            file.seek(offset)
            content = file.read().rstrip(b'\0')
        whole = content[:content.rfind(b'\n') + 1]
        if whole:
            sys.stdout.buffer.write(whole)
            sys.stdout.buffer.flush()
            offset += len(whole)
        # A killed script is started again by the holders: what they make of it is waited for.
        free = free + 1 if lock is not None else 0
        if free >= (2 if finished(path) else 60):
            return
        time.sleep(0.05)


def finished(path):
    last = [entry for entry in Journal(path).read() if entry['entry'] in ('note', 'intent', 'outcome')][-1:]
    return bool(last) and last[0]['entry'] == 'note' and last[0]['text'].startswith('window ')


def one_step(verb, id):
    change = Change()
    step = change.step(id)
    if verb == 'state':
        # With what undo will need, read now: a round trip less where the step is then done.
        state = step.state()
        print(json.dumps({'state': state, 'prepared': step.prepare() if state == 'todo' else {}}))
        return
    lock = take_step_lock(60)
    if lock is None:
        raise Failure('an earlier run is still at a step of this change on this host')
    kept = json.load(sys.stdin)
    if not is_wanted(change, step, verb):
        raise Failure('it is not to be done any more: another run has gone on, or back')
    end_left_over()
    if verb == 'do':
        pause(id, 'before')
        data = step.do(kept) or {}
        pause(id, 'after')
        print(json.dumps({'state': step.state(), 'data': data}))
    else:
        step.undo(kept)
        print(json.dumps({'state': step.state(), 'data': {}}))
    os.close(lock)


def is_wanted(change, step, verb):
    """A command can come late, from a machine that slept while its lock was broken, and others went on, or back: it is
    carried out only as long as the journal says that it was begun, and not what became of it."""
    if step.spec.get('on'):
        # The journal is on another host: here is only its beginning.
        path = change.spec['journal']
        return step.spec['kind'] == 'mark' or os.path.exists(path) and not ended(path)
    record = change.journal.records().get(step.spec['id'])
    if change.journal.read()[-1]['entry'] == 'end' or not may_have_happened(record):
        return False
    return verb == 'undo' or record['direction'] == 'do' and record['ok'] is None


def main(arguments):
    verb = arguments[0]
    try:
        if verb in ('forward', 'back', 'recover'):
            run_window(verb)
        elif verb == 'start':
            start(arguments[1])
        elif verb == 'settle':
            settle(arguments[1])
        elif verb == 'guard':
            guard(arguments[1])
        elif verb == 'watch':
            watch()
        else:
            one_step(verb, arguments[1])
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main(sys.argv[1:])
