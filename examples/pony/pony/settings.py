"""Where things are and how the app is set: the environment says where, the ini file in $SLIPWAY_SETTINGS says how."""

from __future__ import annotations

import configparser
import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple


class Settings(NamedTuple):
    title: str
    banner: str
    organiser: str
    sender: str
    deliver_seconds: float  # how long a delivery takes: stands for a slow mail server
    read_only: bool  # only GET and HEAD are answered: while a promotion has the databases
    backlog: int  # connections that the kernel keeps while the app is busy
    release: str  # what X-Release says: <release>/<version>
    main_database: Path
    queue_database: Path
    mail: Path
    logs: Path


def load(environ=os.environ) -> Settings:
    """The settings of this process. Without an environment from a deployment, everything lies in ./var."""
    ini = configparser.ConfigParser(interpolation=None)
    file = environ.get("SLIPWAY_SETTINGS")
    if file:
        with open(file, encoding="utf-8") as lines:
            ini.read_file(lines)
    pony = ini["pony"] if ini.has_section("pony") else {}
    shared = Path(environ.get("SLIPWAY_SHARED", "var")).absolute()
    release_dir = environ.get("SLIPWAY_RELEASE_DIR")
    return Settings(
        title=pony.get("title", "Randonneurs"),
        banner=pony.get("banner", ""),
        organiser=pony.get("organiser", "brevets@example.org"),
        sender=pony.get("sender", "pony@example.org"),
        deliver_seconds=float(environ.get("PONY_DELIVER_SECONDS", pony.get("deliver_seconds", "0"))),
        read_only=environ.get("PONY_READ_ONLY", "") not in ("", "0"),
        backlog=int(pony.get("backlog", "1024")),
        release=f"{environ.get('SLIPWAY_RELEASE', 'development')}/{environ.get('SLIPWAY_VERSION', 'none')}",
        main_database=shared / "db" / "pony.sqlite",
        queue_database=shared / "db" / "queue.sqlite",
        mail=shared / "mail",
        logs=Path(release_dir) / "logs" if release_dir else shared / "logs",
    )


def log_to(settings: Settings, name: str) -> logging.Logger:
    """A log file of its own in the release's logs, and the supervisor's log for what matters."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    form = logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(message)s")
    everything = logging.FileHandler(settings.logs / f"{name}.log", encoding="utf-8")
    trouble = logging.StreamHandler(sys.stderr)
    trouble.setLevel(logging.WARNING)
    for handler in (everything, trouble):
        handler.setFormatter(form)
        logger.addHandler(handler)
    return logger
