"""A program that delivers a topic and is killed when the target has all of it, before that is noted: ``killed.py FOLDER
TARGET``, the target as ``kinds`` keeps it. With a third word it is not killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from emulator.logs import LogService
from emulator.logs.checkpoints import FolderCheckpoints
from emulator.logs.delivery.kinds import KINDS
from emulator.providers import profile

NOW = 1_704_067_800.0
ROWS = 50


def killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, told = Path(sys.argv[1]), json.loads(sys.argv[2])
    if len(sys.argv) == 3:
        FolderCheckpoints.move = killed  # type: ignore[method-assign]
    target = KINDS[told.pop("kind")](**told)
    with LogService(profile=profile("tencent"), now=lambda: NOW, folder=folder) as service:
        if service.topics():
            topic = service.topic("app")
            (delivery,) = topic.deliveries
            delivery.restart(target)
        else:
            topic = service.create_topic("app", index={"n": "long"})
            delivery = topic.deliver(target)
            topic.write([{"n": number, "eni-id": "eni-1"} for number in range(ROWS)])
        service.deliver(NOW)
        print(delivery.state, delivery.records, delivery.error)


if __name__ == "__main__":
    main()
