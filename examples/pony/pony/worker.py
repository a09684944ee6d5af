"""python3 -m pony.worker: sends queued mails, each exactly once. TERM is a warm shutdown: the mail in hand is finished.

Sending stands for a mail server: a line in mail/sent.log, and the mail itself in mail/sent/. Workers may be many. A
mail in hand is locked by a lock that the kernel lets go when its worker dies, so that another takes it up.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from . import mailqueue, settings
from .database import Missing, connect, transaction


class Spool:
    """The mail/ folder: outgoing/ holds mails in hand, sent/ those sent, sent.log a line for each."""

    def __init__(self, folder: Path):
        self.outgoing = folder / "outgoing"
        self.sent = folder / "sent"
        self.log = folder / "sent.log"
        for part in (self.outgoing, self.sent):
            part.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def in_hand(self, key: str):
        """Yields whether the mail is ours; while it is, no other worker touches it."""
        path = self.outgoing / f"{key}.lock"
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            # The one before us may have finished, and taken the file away, between our open and our lock.
            if not path.exists() or path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
                yield False
                return
            try:
                yield True
            finally:
                path.unlink()

    def write(self, key: str, mail: bytes) -> None:
        draft = self.outgoing / f"{key}.new"
        with open(draft, "wb") as file:
            file.write(mail)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.outgoing / f"{key}.eml")

    def deliver(self, key: str, recipient: str, again: bool) -> None:
        """`again`: an earlier attempt was cut off, so the line may be there already."""
        line = f"{key} {recipient}\n".encode()
        with open(self.log, "ab+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.seek(0)
            if not (again and any(entry == line for entry in log)):
                log.write(line)
                log.flush()
                os.fsync(log.fileno())
        (self.outgoing / f"{key}.eml").rename(self.sent / f"{key}.eml")

    def was_sent(self, key: str) -> bool:
        return (self.sent / f"{key}.eml").exists()


def compose(mail: sqlite3.Row, sender: str) -> bytes:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = mail["recipient"]
    message["Subject"] = mail["subject"]
    message["Message-ID"] = f"<{mail['key']}@pony>"
    message.set_content(mail["body"])
    return bytes(message)


def send(queue: sqlite3.Connection, spool: Spool, mail_id: int, here: settings.Settings, log) -> bool:
    """Sends one mail that may still be unsent. Returns whether it was this worker that sent it."""
    key = queue.execute("SELECT key FROM mails WHERE id = ?", (mail_id,)).fetchone()["key"]
    with spool.in_hand(key) as ours:
        mail = queue.execute("SELECT * FROM mails WHERE id = ? AND state <> 'sent'", (mail_id,)).fetchone()
        if not ours or mail is None:
            return False
        with transaction(queue):
            queue.execute("UPDATE mails SET state = 'sending', attempts = attempts + 1 WHERE id = ?", (mail_id,))
        if not spool.was_sent(key):
            log.info("sending %s to %s", key, mail["recipient"])
            spool.write(key, compose(mail, here.sender))
            time.sleep(here.deliver_seconds)
            spool.deliver(key, mail["recipient"], again=mail["attempts"] > 0)
        with transaction(queue):
            queue.execute("UPDATE mails SET state = 'sent', sent_at = datetime('now') WHERE id = ?", (mail_id,))
        log.info("sent %s", key)
        return True


def main() -> int:
    here = settings.load()
    log = settings.log_to(here, "mailer")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        main_database = connect(here.main_database)
        queue = connect(here.queue_database)
    except Missing as error:
        log.error("%s", error)
        return 1
    spool = Spool(here.mail)
    log.info("worker of %s ready", here.release)
    print(f"pony.worker {here.release} ready", flush=True)
    while not stopping.is_set():
        mailqueue.relay(main_database, queue)
        progress = False
        for mail in mailqueue.unsent(queue):
            if stopping.is_set():
                break
            progress = send(queue, spool, mail["id"], here, log) or progress
        if not progress:
            stopping.wait(0.2)
    for connection in (main_database, queue):
        connection.close()
    log.info("worker of %s stopped", here.release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
