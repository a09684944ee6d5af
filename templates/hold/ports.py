"""Steps for an app on ports, where each release has a port of its own and the domain leads to one of them. The port of the
release that goes is taken over as soon as it is free: requests wait there, and are relayed to the new one's port for as
long as the domain still leads to the old one. What is lost is what came between the two: it was refused."""
import json
import os
import signal
import subprocess
import threading
import time

import hold
from processes import Failure, clean_environment, send, wait_for
from sockets import listening_at


class Door:
    """A unix socket that leads to a port for as long as it is open: how a web server that asks a socket gets there."""

    def __init__(self, path, target):
        self.path, self.target, self.is_open = path, target, True
        self.listener = hold.listen(path, 16)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        slots = threading.Semaphore(16)
        while self.is_open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                time.sleep(0.01)
                continue
            slots.acquire()
            threading.Thread(target=hold.relay, args=(client, self.target, time.monotonic() + 10, slots), daemon=True).start()

    def close(self):
        self.is_open = False
        self.thread.join()
        self.listener.close()
        os.unlink(self.path)


def steps(Hold, Flip, Step, link):
    class HoldPort(Hold):
        """Has a process wait for the old app's port; whoever stops the app leaves it to that."""

        def state(self):
            return 'done' if self.holders() else 'todo'

        def prepare(self):
            port = int(self.spec['socket'][5:])
            return {'address': listening_at(port) or '127.0.0.1', 'heldAt': time.monotonic()}

        def do(self, kept):
            self.end()
            self.change.begin_deadline(kept['heldAt'])
            spec = {
                'socket': self.spec['socket'], 'address': kept['address'], 'backlog': self.spec['backlog'],
                'deadline': self.spec['seconds'] + 120, 'refuse': self.spec.get('refuse'), 'lock': self.change.path('window.lock'),
                'recover': [self.change.python, self.change.path('window.py'), 'recover'],
            }
            with open(self.change.path('hold.json'), 'w') as file:
                file.write(json.dumps(spec))
            with open(self.change.path('hold.log'), 'ab') as log:
                subprocess.Popen([self.change.python, self.change.path('hold.py'), self.change.path('hold.json')], cwd='/',
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                 env=clean_environment())
            wait_for(self.holders, 10, 'requests can not be held')

        def end(self):
            """Nobody holds the port any more; what waited is refused."""
            deadline = time.monotonic() + 5
            while self.holders():
                # Each starts the other again: both at once.
                for pid in self.holders():
                    send(pid, signal.SIGKILL)
                if time.monotonic() > deadline:
                    raise Failure('the processes that hold requests do not end: %s' % self.holders())
                time.sleep(0.005)
            for name in os.listdir(self.change.path('')):
                if name.startswith('hold.json'):
                    os.unlink(self.change.path(name))

        def undo(self, kept):
            self.end()

    class Relay(Flip):
        """The moment after which real requests reach the new app: those that wait at the old port are relayed to it."""

        def target(self):
            return self.change.path('hold.json.target')

        def state(self):
            return 'done' if os.path.islink(self.target()) and super().state() == 'done' else 'todo'

        def do(self, kept):
            held_at = self.change.journal.records()[self.spec['hold']]['data']['heldAt']
            # The target is the last: from it on, those that wait are relayed. No request goes by the site's socket here.
            super().do(kept)
            link(self.spec['socket'], self.target())
            return {'windowMs': round((time.monotonic() - held_at) * 1000)}

        def undo(self, kept):
            super().undo(kept)
            if os.path.islink(self.target()):
                os.unlink(self.target())

    class EndRelay(Step):
        """Once the domain leads to the new port and nothing comes to the old one, it is free again."""

        def hold(self):
            return self.change.step(self.spec['hold'])

        def state(self):
            return 'todo' if self.hold().holders() else 'done'

        def do(self, kept):
            if not os.path.lexists(self.change.path('hold.json.end')):
                os.symlink('end', self.change.path('hold.json.end'))
            wait_for(lambda: not self.hold().holders(), self.spec['seconds'],
                     'requests still come to the old port: the domain does not lead elsewhere yet')

    return {'hold-port': HoldPort, 'relay': Relay, 'end-relay': EndRelay}
