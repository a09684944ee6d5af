"""An app that was deployed by hand, as it is on this host: its processes, and what lies in its folder.

    adopted.py FOLDER    prints what is known of it, as JSON

Standard library only, and nothing of its neighbours: it is asked before a change has a folder."""
import json
import os
import sys

# Somebody who looks around there, and not the app.
VISITORS = ('bash', 'sh', 'dash', 'zsh', 'fish', 'ksh', 'less', 'vim', 'nano', 'tail', 'tmux', 'screen', 'mc')


def processes_of(folder, files):
    """{pid: command line} of those that are at work in the folder, are started from it, or have one of the files open."""
    folder = os.path.realpath(folder)
    ours, found = lineage(os.getpid()), {}
    for entry in os.listdir('/proc'):
        if not entry.isdigit() or int(entry) in ours:
            continue
        try:
            with open('/proc/%s/cmdline' % entry) as file:
                words = file.read().split('\0')[:-1]
            with open('/proc/%s/comm' % entry) as file:
                name = file.read().strip()
            if not words or name in VISITORS:
                continue
            at = os.readlink('/proc/%s/cwd' % entry)
            if within(at, folder) or any(within(word, folder) for word in words) or has_open(entry, files):
                found[int(entry)] = ' '.join(words)[:200]
        except OSError:
            continue
    return found


def within(path, folder):
    return path == folder or path.startswith(folder + '/')


def has_open(entry, files):
    wanted = [os.path.realpath(file) for file in files]
    return any(os.readlink('/proc/%s/fd/%s' % (entry, fd)) in wanted for fd in os.listdir('/proc/%s/fd' % entry))


def lineage(pid):
    """This process and those that it descends from."""
    found = set()
    while pid > 1:
        found.add(pid)
        try:
            with open('/proc/%d/stat' % pid) as file:
                pid = int(file.read().rpartition(')')[2].split()[1])
        except OSError:
            break
    return found


def ports_of(pids):
    """TCP ports at which they listen."""
    sockets = {}
    for path in ('/proc/net/tcp', '/proc/net/tcp6'):
        try:
            with open(path) as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        sockets.update({'socket:[%s]' % row[9]: int(row[1].split(':')[1], 16) for row in rows if row[3] == '0A'})
    found = set()
    for pid in pids:
        try:
            for fd in os.listdir('/proc/%d/fd' % pid):
                port = sockets.get(os.readlink('/proc/%d/fd/%s' % (pid, fd)))
                found.update([port] if port else [])
        except OSError:
            continue
    return sorted(found)


def contents(folder):
    """{path below the folder: bytes} of its SQLite databases, and its folders, down to four levels."""
    files, folders = {}, []
    for at, names, others in os.walk(folder):
        depth = os.path.relpath(at, folder).count(os.sep)
        names[:] = [] if depth >= 3 else [name for name in names if not name.startswith('.') and name != 'node_modules']
        folders.extend(os.path.relpath(os.path.join(at, name), folder) for name in names)
        for name in others:
            path = os.path.join(at, name)
            try:
                with open(path, 'rb') as file:
                    if file.read(16) == b'SQLite format 3\0':
                        files[os.path.relpath(path, folder)] = os.path.getsize(path)
            except OSError:
                continue
    return files, folders


def main(folder):
    folder = os.path.expanduser(folder)
    if not os.path.isdir(folder):
        print(json.dumps({'folder': folder, 'exists': False}))
        return
    folder = os.path.realpath(folder)
    files, folders = contents(folder)
    processes = processes_of(folder, [os.path.join(folder, file) for file in files])
    print(json.dumps({'folder': folder, 'exists': True, 'files': files, 'folders': folders[:200],
                      'processes': {str(pid): text for pid, text in processes.items()}, 'ports': ports_of(processes)}))


if __name__ == '__main__':
    main(sys.argv[1])
