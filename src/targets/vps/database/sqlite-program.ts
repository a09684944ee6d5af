/**
 * What is done to SQLite files on a host, as one Python program: the standard library alone, so that a host needs no
 * sqlite3 command. Sent as text, run with `python3 -c`.
 *
 *   copy SOURCE TARGET          a consistent copy while the app writes, verified, renamed into place
 *   try FILE                    a test restore: a copy beside FILE, its integrity by what it says, and removed again
 *   put SOURCE TARGET KEPT [SHA256]   a verified copy of a backup over TARGET; what was there goes to KEPT
 *   scrub SOURCE TARGET SQL     a copy of SOURCE at TARGET on which the file SQL was run, all of it or nothing
 *   check FILE                  the rows of a database, which is read from end to end
 *   size FILE...                bytes with journals
 *   has-data FILE...            names of the files that hold rows
 *
 * Each prints one JSON line.
 */
export const sqliteProgram = `
import hashlib, json, os, shutil, signal, sqlite3, sys, threading
from urllib.parse import quote

# How long somebody else's transaction may last.
patience = int(os.environ.get('SLIPWAY_SQLITE_WAIT') or 30)
# Files that go where anything fails.
unfinished = []

def connect(path, mode='rw'):
    # mode=rw never creates, and recovers the journal that a killed writer left behind.
    db = sqlite3.connect('file:' + quote(path) + '?mode=' + mode, uri=True, timeout=patience, isolation_level=None)
    db.execute('PRAGMA busy_timeout=%d' % (patience * 1000))
    return db

def tables(db):
    rows = db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return [name for (name,) in rows.fetchall()]

def counts(db):
    return {name: db.execute('SELECT count(*) FROM "' + name.replace('"', '""') + '"').fetchone()[0] for name in tables(db)}

def fail(text):
    print('slipway: ' + text, file=sys.stderr)
    for path in unfinished:
        drop(path)
    sys.exit(1)

def beside(path):
    drop(path)
    unfinished.append(path)
    return path

# What a damaged file is said to be: a backup cannot be read to its end, a database is damaged.
def check(path, full, backup=False):
    damaged = ' cannot be read to its end: ' if backup else ' is damaged: '
    if not os.path.exists(path):
        fail(path + ' does not exist')
    if os.path.getsize(path) == 0:
        fail(path + damaged + 'it is empty')
    try:
        db = connect(path)
        said = [row[0] for row in db.execute('PRAGMA ' + ('integrity_check' if full else 'quick_check')).fetchall()]
        if said != ['ok']:
            fail(path + damaged + '; '.join(map(str, said[:5])))
        found = counts(db)
        db.close()
    except sqlite3.OperationalError as error:
        fail(path + ': ' + words(error))
    except sqlite3.DatabaseError as error:
        fail(path + damaged + str(error))
    return found

def words(error):
    return 'No space left on device' if 'disk is full' in str(error) else str(error)

def drop(path):
    for end in ('', '-wal', '-shm', '-journal'):
        try:
            os.unlink(path + end)
        except FileNotFoundError:
            pass

def sync(path):
    for each in (path, os.path.dirname(path)):
        handle = os.open(each, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

def digest(path):
    sha = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            sha.update(block)
    return sha.hexdigest()

def room(source, folder):
    need = os.path.getsize(source) + (os.path.getsize(source + '-wal') if os.path.exists(source + '-wal') else 0)
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < need * 1.05:
        fail('No space left on device: the disk has room for %d MB, and the copy of %s needs %d MB' % (free.f_bavail * free.f_frsize >> 20, source, need >> 20))

def copy(source, target):
    if not os.path.exists(source) or os.path.getsize(source) == 0:
        fail('no database ' + source)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    room(source, os.path.dirname(target))
    new = beside(target + '.new')
    try:
        db = connect(source)
        mode = db.execute('PRAGMA journal_mode').fetchone()[0]
        db.execute('VACUUM INTO ?', (new,))
        db.close()
        if mode == 'wal':
            # VACUUM INTO drops the mode of the original.
            copied = connect(new)
            copied.execute('PRAGMA journal_mode=wal')
            copied.close()
    except sqlite3.Error as error:
        fail(source + ' could not be copied: ' + words(error))
    os.chmod(new, 0o600)
    # Its indexes have just been built from its rows: that they belong together needs no look. Read and added up at the
    # same time, by two processors.
    sums = []
    summing = threading.Thread(target=lambda: sums.append(digest(new)))
    summing.start()
    found = check(new, False)
    summing.join()
    if not sums:
        fail(new + ' cannot be read to its end')
    sync(new)
    os.rename(new, target)
    sync(target)
    return {'bytes': os.path.getsize(target), 'counts': found, 'sha256': sums[0]}

def trial(source):
    if not os.path.exists(source):
        fail(source + ' does not exist')
    room(source, os.path.dirname(source))
    scratch = beside(source + '.trial')
    shutil.copyfile(source, scratch)
    sha = digest(source)
    if digest(scratch) != sha:
        fail(source + ' cannot be read to its end: it is read differently each time')
    found = check(scratch, True, backup=True)
    drop(scratch)
    return {'bytes': os.path.getsize(source), 'counts': found, 'sha256': sha}

def put(source, target, kept, sha=None):
    if not os.path.exists(source):
        fail(source + ' does not exist')
    os.makedirs(os.path.dirname(target), exist_ok=True)
    room(source, os.path.dirname(target))
    new = beside(target + '.new')
    shutil.copyfile(source, new)
    if sha is None:
        wanted = check(source, False, backup=True)
        if check(new, True, backup=True) != wanted:
            fail('the rows differ: the copy of ' + source + ' has other rows than it')
    elif digest(new) != sha:
        # What has this sum was read through and found whole when it was made.
        fail(source + ' cannot be read to its end: its checksum is not what it was')
    sync(new)
    # Between the two renames there is no database: nothing that a lost connection sends may come between.
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(each, signal.SIG_IGN)
    if os.path.exists(target):
        os.chmod(new, os.stat(target).st_mode & 0o777)
        os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
        for end in ('-wal', '-journal', ''):
            if os.path.exists(target + end):
                os.rename(target + end, kept + end)
        drop(target)
    else:
        os.chmod(new, 0o644)
    os.rename(new, target)
    sync(target)
    return {'bytes': os.path.getsize(target)}

def scrub(source, target, sql):
    beside(target)
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    try:
        db = connect(target)
        with open(sql, encoding='utf-8') as file:
            db.executescript('BEGIN;' + file.read() + '\\n;COMMIT;')
        db.close()
    except sqlite3.Error as error:
        fail('the scrubbing SQL failed: ' + words(error))
    return {'counts': check(target, False)}

def size(path):
    return sum(os.path.getsize(path + end) for end in ('', '-wal', '-journal') if os.path.exists(path + end))

def has_data(path):
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    try:
        db = connect(path)
        found = tables(db)
        db.close()
        return bool(found)
    except sqlite3.DatabaseError:
        return True

def main(action, names):
    if action == 'copy':
        return copy(*names[:2])
    if action == 'try':
        return trial(names[0])
    if action == 'put':
        return put(*names[:4])
    if action == 'scrub':
        return scrub(*names[:3])
    if action == 'check':
        return {'counts': check(names[0], True)}
    if action == 'size':
        return {path: size(path) for path in names}
    if action == 'has-data':
        return [path for path in names if has_data(path)]
    fail('no such action: ' + action)

try:
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
except sqlite3.Error as error:
    fail(words(error))
except OSError as error:
    # What the server's programs say, so that it is told the same way.
    fail('%s: %s' % (error.filename or '', os.strerror(error.errno or 0)))
`
