"""Copies of SQLite databases that lose nothing. In the window the copy is made of bytes, under SQLite's own exclusive
lock, over an earlier copy of which only the blocks that differ are written; before it, by SQLite's backup while the app
writes. An exit status proves nothing here: every copy is checked before it is renamed into place."""
import os
import shutil
import sqlite3
import subprocess

from processes import Failure

COMPANIONS = ('', '-wal', '-shm', '-journal')
BLOCK = 1 << 20


def connect(path, timeout=10):
    """Never creates a file, and recovers what a killed writer left in its journal."""
    from urllib.parse import quote
    uri = 'file:%s?mode=rw' % quote(path)
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)


def check(path, full):
    if os.path.getsize(path) == 0:
        raise Failure('%s is empty' % path)
    connection = connect(path)
    try:
        answer = connection.execute('PRAGMA integrity_check' if full else 'PRAGMA quick_check').fetchall()
    except sqlite3.DatabaseError as error:
        raise Failure('%s is not a sound database: %s' % (path, error))
    finally:
        connection.close()
    if answer != [('ok',)]:
        raise Failure('%s is damaged: %s' % (path, answer[0][0] if answer else 'no answer'))


def backup(source, target):
    """A consistent copy while the app writes: all pages in one read, so that writers can't make it start again."""
    beside = target + '.new'
    remove(beside)
    reader, writer = connect(source, 30), sqlite3.connect(beside, isolation_level=None)
    try:
        reader.backup(writer, pages=-1)
    except sqlite3.Error as error:
        raise Failure('%s could not be copied: %s' % (source, error))
    finally:
        writer.close()
        reader.close()
    sync(beside)
    os.rename(beside, target)


def settle(path):
    """Brings everything that was committed into the main file: hot journals and write-ahead logs."""
    connection = connect(path)
    try:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()
        connection.execute('SELECT count(*) FROM sqlite_master').fetchall()
    except sqlite3.DatabaseError as error:
        raise Failure('%s: %s' % (path, error))
    finally:
        connection.close()


def openers(path):
    """Processes that have the file open: who could still write to it after it was renamed."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    found = []
    for entry in os.listdir('/proc'):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            for fd in os.listdir('/proc/%s/fd' % entry):
                status = os.stat('/proc/%s/fd/%s' % (entry, fd))
                if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
                    with open('/proc/%s/cmdline' % entry) as file:
                        found.append('%s (%s)' % (entry, file.read().replace('\0', ' ').strip()[:80]))
                    break
        except OSError:
            continue
    return found


def final_copy(source, earlier, target):
    """`source`, which nobody writes to any more, as `target`. Returns bytes, and how many of them were written."""
    beside = target + '.new'
    remove(beside)
    lock = exclusive(source)
    try:
        # By another process: closing a descriptor of the file in this one would drop SQLite's locks.
        if earlier and os.path.exists(earlier):
            os.rename(earlier, beside)
        script = [os.path.join(os.path.dirname(os.path.abspath(__file__)), 'copy_blocks.py'), source, beside]
        done = subprocess.run([_python()] + script, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Failure('%s could not be copied: %s' % (source, done.stdout.decode(errors='replace').strip()))
        written = int(done.stdout)
        if os.path.getsize(beside) != os.path.getsize(source):
            raise Failure('the copy of %s has another size' % source)
    finally:
        lock.close()
    check(beside, full=False)
    for companion in COMPANIONS[1:]:
        remove(target + companion)
    os.rename(beside, target)
    sync_folder(os.path.dirname(target))
    return os.path.getsize(target), written


def exclusive(path):
    """A connection that keeps every writer out, with everything that was committed in the main file."""
    return alone(path, 'EXCLUSIVE')


def alone(path, kind):
    """The same; with IMMEDIATE, readers go on in every journal mode."""
    for _ in range(5):
        settle(path)
        lock = connect(path)
        try:
            lock.execute('BEGIN %s' % kind)
        except sqlite3.OperationalError as error:
            lock.close()
            raise Failure('somebody else still uses %s: %s' % (path, error))
        if not os.path.exists(path + '-wal') or os.path.getsize(path + '-wal') == 0:
            return lock
        lock.close()
    raise Failure('somebody else still writes to %s: %s' % (path, ', '.join(openers(path)) or 'nobody to be seen'))


def _python():
    return '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else 'python3'


def copy_tree(source, earlier, target):
    """A folder of spooled files: over an earlier copy, of which what is gone is removed and what differs is copied.
    Returns the number of files, and of those that were copied."""
    beside = target + '.new'
    shutil.rmtree(beside, ignore_errors=True)
    if earlier and os.path.exists(earlier):
        os.rename(earlier, beside)
    copied = mirror(source, beside)
    before, after = listing(source), listing(beside)
    if before != after:
        raise Failure('the copy of %s differs: %d files, not %d' % (source, len(after), len(before)))
    # What the earlier copy had was brought to disk with it.
    sync_files(copied)
    for at, _, _ in os.walk(beside):
        sync_folder(at)
    os.rename(beside, target)
    sync_folder(os.path.dirname(target))
    return len(after), len(copied)


def mirror(source, target):
    """Makes `target` what `source` is, and returns the files that were copied. Those that go while it is read are left
    out: whoever moved them is at work."""
    os.makedirs(target, exist_ok=True)
    shutil.copystat(source, target)
    copied, there = [], set(os.listdir(source))
    for name in os.listdir(target):
        if name not in there:
            path = os.path.join(target, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    for name in there:
        one, other = os.path.join(source, name), os.path.join(target, name)
        try:
            if os.path.isdir(one) and not os.path.islink(one):
                copied.extend(mirror(one, other))
            elif not unchanged(one, other):
                shutil.copy2(one, other, follow_symlinks=False)
                copied.append(other)
        except FileNotFoundError:
            continue
    return copied


def unchanged(one, other):
    try:
        found, wanted = os.lstat(other), os.lstat(one)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns, found.st_mode) == (wanted.st_size, wanted.st_mtime_ns, wanted.st_mode)


def sync_files(paths):
    """They are on disk: many at a time, which the file system's journal takes together. Not the whole file system at
    once, where others may have written gigabytes."""
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(sync, [path for path in paths if not os.path.islink(path)]))


def listing(folder):
    """{path below folder: size} of every file."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if not os.path.islink(path):
                found[os.path.relpath(path, folder)] = os.path.getsize(path)
    return found


def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path):
    sync(path)
