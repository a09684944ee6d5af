"""Databases on servers in a change: copied, fenced, put in place by names. Each step has `databases`, entries of
{database, fenced, scratch, …} with shell programs that exit with 0 only when what they do is true. What is done is read
from the names that the server has, so every step may be repeated."""
import json
import os
import signal
import subprocess
import time

from processes import Failure, command_environment


def run_shell(program, seconds):
    """What `program` prints. At the end of its time it is asked to go, so that it drops what is half made."""
    child = subprocess.Popen(['/bin/sh', '-c', program], cwd='/', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=command_environment(), start_new_session=True)
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
        child.communicate()
        raise Failure('the database did not get ready within %.0f s' % seconds)
    if child.returncode != 0:
        lines = err.decode(errors='replace').strip().split('\n')
        raise Failure('the database: %s\n%s' % (lines[-1], '\n'.join(lines[-20:])))
    return out.decode(errors='replace')


def names(entry):
    """The databases that the server has."""
    return set(run_shell(entry['list'], 60).split('\n'))


def sessions(entry):
    """Who is in a database."""
    lines = run_shell(entry['inspect'], 60).split('\n')
    return [line.split('\t', 1)[1] for line in lines if line.startswith('session\t')]


def forget(entry, program, name):
    if name in names(entry):
        run_shell(entry[program], 300)


def elapsed(began):
    return round((time.monotonic() - began) * 1000)


def steps(Step, write_file):
    """The kinds of steps, by name."""

    class RehearseServers(Step):
        """Copies databases while the app writes, and times what the window will have to do."""

        def result(self):
            return self.change.path('rehearsed-servers.json')

        def state(self):
            if os.path.exists(self.result()):
                return 'done'
            left = any(entry['scratch'] in names(entry) for entry in self.spec['databases'])
            return 'unclear' if left else 'todo'

        def do(self, kept):
            timings = {}
            for entry in self.spec['databases']:
                self.clear(entry)
                began = time.monotonic()
                run_shell(entry['copy'], 24 * 3600)
                timings[entry['name']] = {'copyMs': elapsed(began)}
                # The window copies from a database in which nobody is, which is quicker.
                began = time.monotonic()
                run_shell(entry['again'], 24 * 3600)
                timings[entry['name']]['windowMs'] = elapsed(began)
                run_shell(entry['dropAgain'], 300)
            write_file(self.result(), json.dumps(timings))
            return timings

        def clear(self, entry):
            forget(entry, 'dropScratch', entry['scratch'])
            forget(entry, 'dropAgain', entry['scratchAgain'])

        def undo(self, kept):
            for entry in self.spec['databases']:
                self.clear(entry)
            if os.path.exists(self.result()):
                os.unlink(self.result())

    class FenceServers(Step):
        """Gives databases another name, and ends the sessions in them."""

        def state(self):
            fenced = [entry['fenced'] in names(entry) for entry in self.spec['databases']]
            return 'done' if all(fenced) else 'unclear' if any(fenced) else 'todo'

        def do(self, kept):
            for entry in self.spec['databases']:
                if entry['fenced'] not in names(entry):
                    run_shell(entry['fence'], self.change.at_most(30))

        def undo(self, kept):
            for entry in self.spec['databases']:
                # Also one that has its name still: a server that was ended in the midst leaves it closed.
                if {entry['fenced'], entry['database']} & set(names(entry)):
                    run_shell(entry['unfence'], 60)

    class CopyServers(Step):
        """Copies what was fenced, compared row by row of numbers, and gives the copy the name."""

        def state(self):
            there = [entry['database'] in names(entry) for entry in self.spec['databases']]
            return 'done' if all(there) else 'unclear' if any(there) else 'todo'

        def do(self, kept):
            began = time.monotonic()
            for entry in self.spec['databases']:
                found = names(entry)
                if entry['database'] in found:
                    continue
                if entry['fenced'] not in found:
                    raise Failure('there is no %s' % entry['fenced'])
                forget(entry, 'dropScratch', entry['scratch'])
                run_shell(entry['copy'], self.change.at_most(24 * 3600))
                run_shell(entry['place'], self.change.at_most(60))
            return {'copyMs': elapsed(began)}

        def undo(self, kept):
            for entry in self.spec['databases']:
                found = names(entry)
                # As long as the fenced one is there, what has the name is its copy.
                if entry['fenced'] in found and entry['database'] in found:
                    run_shell(entry['dropCopy'], 300)
                forget(entry, 'dropScratch', entry['scratch'])

    class KeepServers(Step):
        """What was fenced is kept, under a name that says since when."""

        def state(self):
            return 'todo' if any(entry['fenced'] in names(entry) for entry in self.spec['databases']) else 'done'

        def do(self, kept):
            for entry in self.spec['databases']:
                if entry['fenced'] in names(entry):
                    run_shell(entry['keep'], 60)

    class DropRehearsal(Step):
        """Drops the copies of the rehearsal."""

        def state(self):
            return 'todo' if any(entry['scratch'] in names(entry) for entry in self.spec['databases']) else 'done'

        def do(self, kept):
            for entry in self.spec['databases']:
                forget(entry, 'dropScratch', entry['scratch'])

    class HandOver(Step):
        """Ends the sessions in databases that stay where they are, proves that nobody comes back, and dumps those that
        will be changed."""

        def state(self):
            record = self.change.journal.records().get(self.spec['id'])
            return 'done' if record and record['direction'] == 'do' and record['ok'] else 'todo'

        def do(self, kept):
            began = time.monotonic()
            for entry in self.spec['databases']:
                run_shell(entry['endSessions'], self.change.at_most(60))
                # Whoever comes back at once is none of the release that was stopped.
                inside = sessions(entry)
                if inside:
                    raise Failure('others are in %s again: %s' % (entry['database'], ', '.join(inside)))
                if self.spec['dumps']:
                    run_shell(entry['dump'], self.change.at_most(24 * 3600))
            return {'copyMs': elapsed(began)}

        def undo(self, kept):
            records = self.change.journal.records()
            if not self.spec['dumps'] or not any(id in records for id in self.spec['changing']):
                return
            for entry in self.spec['databases']:
                if not os.path.exists(entry['dumpFile']):
                    continue
                found = names(entry)
                # In place already, where this was interrupted.
                if entry['kept'] not in found:
                    forget(entry, 'dropScratch', entry['scratch'])
                    run_shell(entry['restore'], 24 * 3600)
                    run_shell(entry['place'], 60)
                run_shell(entry['dropKept'], 300)
                os.unlink(entry['dumpFile'])

    return {'rehearse-servers': RehearseServers, 'fence-servers': FenceServers, 'copy-servers': CopyServers,
            'keep-servers': KeepServers, 'drop-rehearsal': DropRehearsal, 'hand-over': HandOver}
