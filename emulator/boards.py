"""The command ``vpclab dashboard``: a dashboard over a topic of a data folder, in the terminal and as an HTML file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from emulator.cloud.names import nearest
from emulator.errors import LabError
from emulator.logs.dashboard import Answer, Dashboard, ask, dashboard
from emulator.logs.service import LogService
from emulator.logs.topic import Topic
from emulator.reading import read_logs


def own_dashboards() -> Path:
    """Where users keep theirs: ``$XDG_CONFIG_HOME/vpclab/dashboards``, by default under ``~/.config``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "vpclab" / "dashboards"


def answered(
    name: str, folder: Path, topic: str | None, logset: str | None, start: float | None, end: float | None
) -> tuple[Dashboard, list[Answer]]:
    """A dashboard, and what its panels show of a topic of the data folder; another process may write there."""
    board = dashboard(name, own_dashboards())
    with read_logs(folder, board.provider) as service:
        chosen = _topic(service, topic, logset)
        # The clock of whoever writes is not known here; the newest record is the latest that is.
        newest = chosen.search("*", newest_first=True, limit=1)
        moment = float(newest[0].time or 0) if newest else 0.0
        service.now = lambda: moment
        return replace(board, title=f"{board.title}: {chosen.name}"), ask(board, chosen, start, end)


def _topic(service: LogService, name: str | None, logset: str | None) -> Topic:
    if name is not None:
        return service.topic(name, logset)
    if logset is not None and logset not in service.logsets():
        raise LabError(f"there is no logset {logset!r}: {nearest(logset, service.logsets())}")
    topics = [topic for topic in service.topics() if logset in (None, topic.logset)]
    if len(topics) != 1:
        names = ", ".join(f"{topic.logset}/{topic.name}" for topic in topics) or "none"
        raise LabError(f"say which topic: --topic NAME; there are {names}")
    return topics[0]
