"""Reads go on while writes wait: the old app, in its read-only mode, answers them. First on the live databases, in the slot
that is free; once they are fenced, on snapshots, to which their paths lead then by a symlink (so SQLite keeps what belongs
to one and to the other apart). reads.sock says who answers: it leads to current.sock but for in between. What an app wrote
to a snapshot could not count, so SQLite refuses it: the snapshot's header says that it was written by a later version of
SQLite than there is, which any version may read."""
import os
import subprocess
import time

import databases
from processes import Daemon, Failure, healthy_on, marked, wait_for
from sockets import connections_to

# The header's byte for who may write, and what it says in a snapshot: https://sqlite.org/fileformat.html#file_format_version_numbers
WRITE_VERSION, NOBODY = 18, b'\x03'


def snapshot(source, target):
    """A copy that can be read and not written."""
    databases.remove(target)
    # By another process: closing a descriptor of the file in this one would drop SQLite's locks.
    done = subprocess.run(['cp', '--', source, target], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure('%s could not be copied: %s' % (source, done.stdout.decode(errors='replace').strip()))
    with open(target, 'r+b') as file:
        file.seek(WRITE_VERSION)
        file.write(NOBODY)


def is_there(path):
    """Whether what is to be read leads to, or was made for, a database's path."""
    return os.path.islink(path) or any(os.path.exists(path + '.reads' + each) for each in databases.COMPANIONS)


def discard(path):
    """The symlink goes first: whoever finds nothing looks for nothing further."""
    if os.path.islink(path):
        os.unlink(path)
    for companion in databases.COMPANIONS:
        databases.remove(path + '.reads' + companion)


def pid_of(opener):
    return int(opener.split(' ', 1)[0])


def steps(Step, Stop, Fence, link, read_link, write_file):
    class Reading(Step):
        """What the steps below share: the two slots of the old release, and who answers reads."""

        def __init__(self, change, spec):
            super().__init__(change, spec)
            self.daemon = Daemon(spec['daemon'])

        def mode_file(self, program):
            """While it is there, the start script has the program only read."""
            return os.path.join(self.daemon.folder, 'run', '%s.environment' % program)

        def begin(self, program):
            """Starts it in its read-only mode, and leads reads to it once it is healthy."""
            socket = self.spec['sockets'][program]
            if not os.path.exists(self.mode_file(program)):
                # What is left of an earlier restart is at its last requests.
                self.finish(program, self.change.at_most(self.spec['seconds']))
            write_file(self.mode_file(program), self.spec['mode'])
            self.daemon.start([program], self.change.at_most(20))
            health = dict(self.spec['health'], socket=socket)
            healthy_on(socket, health, health['release'], self.change.at_most(health['deadline']))
            link(socket, self.spec['link'])

        def finish(self, program, seconds):
            """It answers what it has, and stops."""
            path = self.spec['sockets'][program]
            wait_for(lambda: connections_to(path) == 0, seconds,
                     lambda: '%d requests to %s are still being served' % (connections_to(path), path))
            self.daemon.stop([program], seconds)

        def end(self):
            """Reads go where all requests go, and nothing is in its read-only mode any more."""
            if read_link(self.spec['link']) != self.spec['otherwise']:
                link(self.spec['otherwise'], self.spec['link'])
            for program in self.spec['sockets']:
                if not os.path.exists(self.mode_file(program)):
                    continue
                try:
                    self.finish(program, self.spec['seconds'])
                except Failure:
                    # Nothing waits for an answer that takes so long.
                    self.daemon.stop([program], 1)
                databases.remove(self.mode_file(program))

        def answers(self, program):
            return read_link(self.spec['link']) == self.spec['sockets'][program] and bool(marked(self.daemon.folder, [program]))

    class ReadLive(Reading):
        """The old app answers reads from its free slot, in its read-only mode, on the databases as they are."""

        def state(self):
            return 'done' if any(self.answers(program) for program in self.spec['sockets']) else 'todo'

        def do(self, kept):
            began = time.monotonic()
            for path in self.spec['files']:
                if os.path.islink(path):
                    raise Failure('%s is a symlink: it can not be read while it is fenced' % path)
            self.begin(self.spec['program'])
            return {'startMs': round((time.monotonic() - began) * 1000)}

        def undo(self, kept):
            self.end()

    class StopWriter(Stop):
        """Ends the app where it writes. What only reads may run as the same program later."""

        def state(self):
            live = self.change.step(self.spec['reading'])
            only_read = all(os.path.exists(live.mode_file(program)) for program in self.spec['programs'])
            return 'done' if only_read else super().state()

    class FenceReading(Fence):
        """Fences databases as Fence does, but that their paths lead to snapshots from then on, without a moment between: who
        reads them now, and who opens them later, finds the same."""

        def live(self):
            return self.change.step(self.spec['reading'])

        def databases(self):
            return [item['path'] for item in self.spec['items'] if item['kind'] == 'sqlite']

        def state(self):
            done = all(os.path.exists(self.fenced(item['path'])) for item in self.spec['items'])
            return 'done' if done and all(map(os.path.islink, self.databases())) else 'todo'

        def do(self, kept):
            began = time.monotonic()
            for path in self.databases():
                if not os.path.islink(path):
                    self.replace(path)
            snapshots = time.monotonic()
            super().do(kept)
            return {'snapshotMs': round((snapshots - began) * 1000)}

        def replace(self, path):
            target, fenced = path + '.reads', self.fenced(path)
            readers = marked(self.live().daemon.folder, self.live().spec['sockets'])

            def others():
                return [each for each in databases.openers(fenced) if pid_of(each) not in readers]

            def nobody_else():
                wait_for(lambda: not others(), self.change.at_most(3), lambda: '%s is still open in %s' % (path, ', '.join(others())))

            databases.remove(fenced)
            os.link(path, fenced)
            # A process that was just stopped may still be letting go.
            nobody_else()
            lock = databases.alone(path, 'IMMEDIATE')
            try:
                snapshot(path, target)
                link(os.path.basename(target), path)
                try:
                    # Who came before it was led elsewhere, and now waits for the lock.
                    nobody_else()
                except Failure:
                    os.rename(fenced, path)
                    raise
            finally:
                lock.close()

        def undo(self, kept):
            # Whoever reads the fenced file has to be gone before the app that writes has it again.
            self.live().end()
            for path in self.databases():
                fenced = self.fenced(path)
                if os.path.exists(fenced):
                    if os.path.islink(path):
                        os.rename(fenced, path)
                    elif os.path.exists(path) and os.path.samefile(path, fenced):
                        os.unlink(fenced)
                    for companion in databases.COMPANIONS[1:]:
                        databases.remove(fenced + companion)
                discard(path)
            super().undo(kept)

    class ReadSnapshots(Reading):
        """The same from the other slot, where the app that writes has stopped: what it opens is the snapshots. Then nobody
        has the fenced databases open any more."""

        def live(self):
            return self.change.step(self.spec['reading'])

        def state(self):
            gone = not marked(self.daemon.folder, [self.live().spec['program']])
            return 'done' if self.answers(self.spec['program']) and gone else 'todo'

        def do(self, kept):
            began = time.monotonic()
            self.begin(self.spec['program'])
            self.finish(self.live().spec['program'], self.change.at_most(self.spec['seconds']))
            databases.remove(self.mode_file(self.live().spec['program']))
            for path in self.spec['files']:
                fenced = '%s.fenced-%s' % (path, self.change.id)
                wait_for(lambda: not databases.openers(fenced), self.change.at_most(3),
                         lambda: '%s is still open in %s' % (fenced, ', '.join(databases.openers(fenced))))
            return {'startMs': round((time.monotonic() - began) * 1000)}

        def undo(self, kept):
            self.end()

    class EndReading(Step):
        """Reads have gone to the new app since the flip: the old one stops, and the snapshots are deleted."""

        def live(self):
            return self.change.step(self.spec['reading'])

        def state(self):
            modes = [self.live().mode_file(program) for program in self.live().spec['sockets']]
            return 'todo' if any(map(os.path.exists, modes)) or any(map(is_there, self.spec['files'])) else 'done'

        def do(self, kept):
            self.live().end()
            for path in self.spec['files']:
                discard(path)
                for companion in databases.COMPANIONS[1:]:
                    # Of those that read the live database; what it had was in its main file when it was fenced.
                    databases.remove(path + companion)

    return {'read-live': ReadLive, 'stop-writer': StopWriter, 'fence-reading': FenceReading, 'read-snapshots': ReadSnapshots, 'end-reading': EndReading}
