"""The windows that were open when a lab with a data folder was killed, brought in by the next lab on that folder.

The kernel keeps counting without us: the keeper lingers for a minute and holds the VPC's namespace. What it does not
know stands in
``open-windows.json``, written anew whenever flow logs, ENIs or windows change: which table belongs to which ENI, window
and flow log, and the parts of a window that were already read.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emulator.capture.exclusion import for_records
from emulator.capture.ledger import Ledger, Part, by_window, covering, window_records
from emulator.capture.spool import Spool
from emulator.cloud.model import FlowLog
from emulator.cloud.profile import Profile
from emulator.cloud.unrecorded import Unrecorded
from emulator.errors import KeeperLost, KernelRefused
from emulator.fabric.accounts import Accounts, Harvest
from emulator.fabric.client import KeeperClient
from emulator.fabric.shapes6 import FLOW6
from emulator.fabric.tables import FLOW

LINGER_S = 60.0
"""How long the kernel's tables wait for the next lab on the folder."""
_FILE = "open-windows.json"


def save(
    folder: Path,
    tag: str,
    ledgers: Iterable[tuple[Ledger, int | None, int | None, bool]],
    logs: Iterable[FlowLog],
    *,
    tcp_flags: bool,
) -> None:
    """Note the open windows: each ledger with the namespace and interface index where it is counted, None if no
    longer, and whether IPv6 is counted there, too."""
    noted = {
        "tag": tag,
        "tcp_flags": tcp_flags,
        "flow_logs": {log.id: {"topic_id": log.topic_id, "traffic": log.traffic, "name": log.name} for log in logs},
        "windows": [
            {
                "eni_id": ledger.eni_id,
                "start": ledger.start,
                "end": ledger.end,
                "constants": ledger.constants,
                "flow_logs": sorted(ledger.flow_logs),
                "ns": ns,
                "index": index,
                "ipv6": ipv6,
                "parts": [_note_part(part) for part in ledger.parts],
            }
            for ledger, ns, index, ipv6 in ledgers
        ],
    }
    beside = folder / (_FILE + ".writing")
    beside.write_text(json.dumps(noted))
    os.replace(beside, folder / _FILE)


def recover(folder: Path, spool: Spool, profile: Profile) -> int:
    """Spool the records of windows that an earlier lab left open; how many windows there were.

    Without a lingering keeper only the parts that were read before are known.
    """
    path = folder / _FILE
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):
        return 0
    keeper = KeeperClient.rejoin(folder)
    try:
        ledgers = [
            _ledger(window, keeper, profile.unrecorded, tcp_flags=noted["tcp_flags"]) for window in noted["windows"]
        ]
    finally:
        if keeper is not None:
            with contextlib.suppress(KernelRefused, KeeperLost):
                keeper.linger(noted["tag"], folder, 0)
            keeper.close()
    number = 0
    for window in by_window(ledgers):
        end = window[0].end
        for log_id in covering(window):
            log = noted["flow_logs"][log_id]
            for table in window_records(window, log_id, log["traffic"], profile.record_form):
                number += 1
                spool.put(
                    end + profile.delay_s,
                    log["topic_id"],
                    profile.record_form,
                    table,
                    f"{noted['tag']}-{end}-r{number}",
                )
    path.unlink()
    return len(ledgers)


def forget(folder: Path) -> None:
    """Nothing is open any more: the lab was closed in good order."""
    (folder / _FILE).unlink(missing_ok=True)


def _ledger(
    window: dict[str, Any], keeper: KeeperClient | None, unrecorded: Sequence[Unrecorded], *, tcp_flags: bool
) -> Ledger:
    parts = [_read_part(part) for part in window["parts"]]
    if keeper is not None and window["ns"] is not None:
        with contextlib.suppress(KernelRefused):  # it was unplugged meanwhile
            ipv6 = window["ipv6"]
            accounts = Accounts(keeper, window["ns"], {window["index"]: 0}, tcp_flags=tcp_flags, ipv6=ipv6)
            for harvest in accounts.read_all(window["index"]):
                parts.append(Part(for_records(harvest, unrecorded), frozenset(window["flow_logs"])))
    return Ledger(
        window["eni_id"], window["start"], window["end"], window["constants"], frozenset(window["flow_logs"]), parts
    )


def _note_part(part: Part) -> dict[str, Any]:
    flows, flows6 = (base64.b64encode(one.tobytes()).decode() for one in (part.harvest.flows, part.harvest.flows6))
    return {
        "flows": flows,
        "flows6": flows6,
        "skipped": part.harvest.skipped,
        "flow_logs": sorted(part.flow_logs),
    }


def _read_part(noted: dict[str, Any]) -> Part:
    flows = np.frombuffer(base64.b64decode(noted["flows"]), FLOW)
    flows6 = np.frombuffer(base64.b64decode(noted["flows6"]), FLOW6)
    return Part(Harvest(flows, noted["skipped"], flows6=flows6), frozenset(noted["flow_logs"]))
