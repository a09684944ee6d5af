"""The journal of a change, as the tool writes it: a line an entry, a CRC-32 before its JSON. Appending is on disk when
it returns; a torn last line is written over, so that what follows it can be read."""
import datetime
import json
import os
import zlib


class Journal:
    def __init__(self, path):
        self.path = path

    def read(self):
        return self._parse()[0]

    def _parse(self):
        """The whole entries, where they end, and where written bytes end."""
        with open(self.path, 'rb') as file:
            content = file.read().rstrip(b'\0')
        entries, offset = [], 0
        for line in content.split(b'\n')[:-1]:
            json_text = line[9:]
            if line[8:9] != b' ' or line[:8] != b'%08x' % zlib.crc32(json_text):
                break
            entries.append(json.loads(json_text.decode()))
            offset += len(line) + 1
        return entries, offset, len(content)

    def append(self, **entry):
        entries, offset, end = self._parse()
        if entries and entries[-1]['entry'] == 'end':
            raise RuntimeError('the change has ended')
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
        text = json.dumps(dict({'at': at}, **entry), ensure_ascii=False, separators=(',', ':')).encode()
        line = b'%08x %s\n' % (zlib.crc32(text), text)
        fd = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(fd, line + b'\0' * max(0, end - offset - len(line)), offset)
            os.fsync(fd)
        finally:
            os.close(fd)

    def intent(self, step, direction, data):
        self.append(entry='intent', step=step, direction=direction, **({'data': data} if data else {}))

    def outcome(self, step, direction, ok, duration_ms, data=None, error=None):
        more = {}
        if data:
            more['data'] = data
        if error is not None:
            more['error'] = error
        self.append(entry='outcome', step=step, direction=direction, ok=ok, durationMs=duration_ms, **more)

    def records(self):
        """What became of each step, and what was kept for undoing it."""
        records = {}
        for entry in self.read():
            if entry['entry'] not in ('intent', 'outcome'):
                continue
            before = records.get(entry['step'], {'begun': False, 'data': {}})
            undo, ok = entry['direction'] == 'undo', entry.get('ok')
            records[entry['step']] = {
                'direction': entry['direction'],
                'ok': ok,
                # A step can fail before it is begun, where it looks at what is there: that is not its own doing.
                'begun': ok is None or (not ok if undo else ok or before['begun']),
                'data': dict(before['data'], **entry.get('data', {})),
            }
        return records


def may_have_happened(record):
    """Whether something of the step may be in the world: begun, or found done, and not wholly undone."""
    return record is not None and record['begun']
