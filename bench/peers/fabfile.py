"""The same work for Fabric 2, and as many tasks to list as the root task file has."""
import os
from fabric import task

ssh_config = os.environ.get('BENCH_SSH_CONFIG', '')
files = os.environ.get('BENCH_FILES', '')
target = os.environ.get('BENCH_TARGET', '')


@task
def one(c):
    """One command on one host"""
    c.run('true')


@task
def hundred(c):
    """A hundred commands on one host, one after the other"""
    for _ in range(100):
        c.run('true')


@task
def sync(c):
    """A thousand small files, and eight commands"""
    c.local(f"rsync -rlpt --delete --exclude /shared -e 'ssh -F {ssh_config}' {files}/ bench:{target}")
    c.run(f'mkdir -p {target}/shared')
    c.run(f'ln -sfn {target} {target}.current')
    c.run(f'chmod 700 {target}')
    c.run(f'test -d {target}/shared')
    c.run(f'ls {target}.current', hide=True)
    c.run('date', hide=True)
    c.run('id -un', hide=True)
    c.run(f'touch {target}.done')


def named(name):
    def body(c, release='staging'):
        c.run('true')
    body.__name__ = name
    body.__doc__ = 'A task of the list: ' + name.replace('_', ' ')
    return task(body)


for name in os.environ.get('BENCH_TASKS', '').split():
    globals()[name] = named(name)
