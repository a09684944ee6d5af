/**
 * What is done to SQLite files on a host, as one Python program: the standard library alone, so that a host needs no
 * sqlite3 command. Sent as text, run with `python3 -c`.
 *
 *   copy SOURCE TARGET [FULL]   a consistent copy while the app writes, verified, renamed into place
 *   check FILE [FULL]           integrity, by what it says and not by exit status alone
 *   put SOURCE TARGET KEPT      a verified copy of a backup over TARGET; what was there goes to KEPT
 *   scrub SOURCE TARGET SQL     a copy of SOURCE at TARGET on which the file SQL was run, all of it or nothing
 *   size FILE...                bytes with journals
 *   has-data FILE...            names of the files that hold rows
 *
 * Each prints one JSON line.
 */
export const sqliteProgram = `
import hashlib, json, os, shutil, signal, sqlite3, sys
from urllib.parse import quote

def connect(path, mode='rw'):
    # mode=rw never creates, and recovers the journal that a killed writer left behind.
    db = sqlite3.connect('file:' + quote(path) + '?mode=' + mode, uri=True, timeout=30, isolation_level=None)
    db.execute('PRAGMA busy_timeout=30000')
    return db

def tables(db):
    rows = db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return [name for (name,) in rows.fetchall()]

def counts(db):
    return {name: db.execute('SELECT count(*) FROM "' + name.replace('"', '""') + '"').fetchone()[0] for name in tables(db)}

def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)

def check(path, full):
    if not os.path.exists(path):
        fail(path + ' does not exist')
    if os.path.getsize(path) == 0:
        fail(path + ' is empty')
    try:
        db = connect(path)
        said = [row[0] for row in db.execute('PRAGMA ' + ('integrity_check' if full else 'quick_check')).fetchall()]
        if said != ['ok']:
            fail(path + ' is damaged: ' + '; '.join(map(str, said[:5])))
        found = counts(db)
        db.close()
    except sqlite3.DatabaseError as error:
        fail(path + ' cannot be read: ' + str(error))
    return found

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
        fail('the disk has room for %d MB, and the copy of %s needs %d MB' % (free.f_bavail * free.f_frsize >> 20, source, need >> 20))

def copy(source, target, full):
    if not os.path.exists(source) or os.path.getsize(source) == 0:
        fail(source + ' does not exist')
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    room(source, os.path.dirname(target))
    new = target + '.new'
    drop(new)
    try:
        db = connect(source)
        mode = db.execute('PRAGMA journal_mode').fetchone()[0]
        before = db.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]
        db.execute('VACUUM INTO ?', (new,))
        db.close()
        os.chmod(new, 0o600)
        found = check(new, full)
        if mode == 'wal':
            # VACUUM INTO drops the mode of the original.
            copied = connect(new)
            copied.execute('PRAGMA journal_mode=wal')
            copied.close()
        sync(new)
        os.rename(new, target)
        sync(target)
    except sqlite3.Error as error:
        drop(new)
        fail(source + ' could not be copied: ' + str(error))
    return {'bytes': os.path.getsize(target), 'counts': found, 'sha256': digest(target)}

def put(source, target, kept):
    wanted = check(source, False)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    room(source, os.path.dirname(target))
    new = target + '.new'
    drop(new)
    shutil.copyfile(source, new)
    if check(new, True) != wanted:
        drop(new)
        fail('the copy of ' + source + ' has other rows than it')
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
    return {'bytes': os.path.getsize(target), 'counts': wanted}

def scrub(source, target, sql):
    drop(target)
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    try:
        db = connect(target)
        with open(sql, encoding='utf-8') as file:
            db.executescript('BEGIN;' + file.read() + '\\n;COMMIT;')
        db.close()
    except sqlite3.Error as error:
        drop(target)
        fail('the scrubbing SQL failed: ' + str(error))
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

action, *words = sys.argv[1:]
if action == 'copy':
    result = copy(words[0], words[1], 'full' in words[2:])
elif action == 'check':
    result = {'counts': check(words[0], 'full' in words[1:]), 'sha256': digest(words[0]) if 'sum' in words[1:] else ''}
elif action == 'put':
    result = put(*words[:3])
elif action == 'scrub':
    result = scrub(*words[:3])
elif action == 'size':
    result = {path: size(path) for path in words}
elif action == 'has-data':
    result = [path for path in words if has_data(path)]
else:
    fail('no such action: ' + action)
print(json.dumps(result))
`
