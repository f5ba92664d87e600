"""Room for new counters, held free in the kernel's per-CPU memory.

The packet that begins a flow, or the first that an ENI's meter counts, needs a counter at once, and can have it only
where per-CPU memory has pages already; the kernel keeps four in stock and fetches more in the background. Namespaces
and links that others make use these up, and then nothing new is counted for a moment: of 700 windows of 40 flows beside
a busy test suite 2 had flows without a counter, with a reserve none of 1,530. Flows are kept all the same (spill.py);
meters, by which the audit judges, are not.

The reserve is a set of elements with counters in a namespace of its own, of which every second was deleted. What is
left keeps the pages, and the gaps are as large as one counter, so that little else fits in.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import weakref

from emulator.errors import KernelRefused
from emulator.fabric import netlink
from emulator.fabric.client import KeeperClient
from emulator.fabric.elements import Batch
from emulator.fabric.ruleset import TABLE

FLOWS = 2048
"""New flows for which there is room; to make it takes 25 ms, once for each keeper."""

_SET = "reserve"
_TAG = "reserve"
_kept: weakref.WeakSet[KeeperClient] = weakref.WeakSet()
_lock = threading.Lock()


def keep(keeper: KeeperClient) -> None:
    """Hold a reserve for as long as the keeper lives; a kernel that gives none is one without."""
    with _lock:
        if keeper in _kept:
            return
        _kept.add(keeper)
    with contextlib.suppress(KernelRefused):
        (ns,) = keeper.make_namespaces(1, _TAG)
        keeper.nft(ns, f"table {TABLE} {{\n set {_SET} {{\n  type mark\n  counter\n }}\n}}\n")
        keys = [struct.pack("=I", number) for number in range(2 * FLOWS)]
        for batch in (Batch().add(_SET, keys), Batch().delete(_SET, keys[::2])):
            netlink.send(keeper, [(ns, netlink.NETFILTER, batch.request())], "hold a reserve of counters")
