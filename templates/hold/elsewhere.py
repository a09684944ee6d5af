"""The steps of hosts beside the one that has a change's journal. There, a journal with nothing but its beginning says
that the change is under way: start scripts called by the crontab look for one, and start nothing."""
import datetime
import json
import os
import zlib


def line(entry):
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
    text = json.dumps(dict({'at': at}, **entry), ensure_ascii=False, separators=(',', ':')).encode()
    return b'%08x %s\n' % (zlib.crc32(text), text)


def ended(path):
    with open(path, 'rb') as file:
        last = file.read().rstrip(b'\0').split(b'\n')[-2:][:1]
    return bool(last) and b'"entry":"end"' in last[0]


def steps(Step, write_file):
    class Mark(Step):
        """The change is under way."""

        def state(self):
            return 'done' if os.path.exists(self.spec['file']) and not ended(self.spec['file']) else 'todo'

        def do(self, kept):
            os.makedirs(os.path.dirname(self.spec['file']), exist_ok=True)
            by = {'run': self.change.id, 'user': '', 'machine': '', 'command': self.spec['told']}
            begin = {'entry': 'begin', 'id': self.change.id, 'kind': 'elsewhere', 'locks': self.spec['locks'],
                     'title': self.spec['told'], 'by': by, 'steps': [], 'facts': {}}
            write_file(self.spec['file'], line(begin).decode())

        def undo(self, kept):
            try:
                os.unlink(self.spec['file'])
            except FileNotFoundError:
                pass

    class Unmark(Step):
        """It is over."""

        def state(self):
            return 'done' if not os.path.exists(self.spec['file']) or ended(self.spec['file']) else 'todo'

        def do(self, kept):
            with open(self.spec['file'], 'ab') as file:
                file.write(line({'entry': 'end', 'result': 'done'}))
                file.flush()
                os.fsync(file.fileno())

    return {'mark': Mark, 'unmark': Unmark}
