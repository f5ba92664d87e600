"""Captured packets as the records that a flow log on their ENIs would have written, by the code of every lab."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emulator.capture import forms, schema
from emulator.capture.exclusion import for_records
from emulator.capture.ledger import Ledger, Part, window_records
from emulator.capture.paths import paths_of, unknown
from emulator.cloud.model import Eni
from emulator.cloud.profile import Profile
from emulator.errors import LabError
from emulator.fabric.accounts import Harvest
from emulator.fabric.shapes6 import FLOW6
from emulator.fabric.tables import FLOW, UNKNOWN_FLAGS, shown_flags
from emulator.hindsight import frames
from emulator.hindsight.judging import Judged, address_of, judge
from emulator.hindsight.packets import TCP, Mask, packets
from emulator.hindsight.setting import Setting, setting

FLOW_LOG = "imported"
"""The flow log that records of captured packets are of."""
ORDINARY_BYTES = 1500
"""What a network of Ethernet carries at most; longer packets have not been on a wire yet."""
_NAMED = 5


@dataclass(frozen=True)
class Recorded:
    """``records`` in the provider's columns, ``remarks`` what is to be known of them, a sentence each."""

    records: pa.Table
    remarks: list[str]


def record(
    path: str | os.PathLike[str],
    profile: Profile,
    enis: Sequence[str],
    *,
    rules: str | os.PathLike[str] | None = None,
    interval_s: int | None = None,
) -> Recorded:
    """What the profile's cloud would have logged of a capture file at ENIs with these addresses.

    :raises LabError: the file cannot be read, no packet of it is of these ENIs, or they cannot be
    """
    window_s = _check_interval(profile, interval_s)
    there = setting(profile, enis, rules)
    read = frames.read(path)
    found = packets(read)
    judged = judge(there.cloud, found, there.enis)
    cut = f"{os.fspath(path)} is cut off behind packet {len(read.times)}; what comes before was read"
    remarks = [cut] if read.cut else []
    remarks += [f"{count} packets were left out: {what}" for what, count in found.remarks.items()]
    remarks += _remarks(found.found, judged, there.enis, os.fspath(path))
    tables = list(_tables(found.found, judged, there, profile, window_s))
    table = pa.concat_tables(tables)
    order = np.argsort(table["end"].to_numpy(), kind="stable")
    return Recorded(forms.form(profile.record_form, table.take(pa.array(order))), remarks)


def _check_interval(profile: Profile, interval_s: int | None) -> int:
    if interval_s is None:
        return profile.window_s
    if interval_s not in profile.windows_s:
        known = ", ".join(map(str, profile.windows_s))
        raise LabError(f"interval {interval_s} s: {profile.name} has windows of {known} seconds")
    return interval_s


def _remarks(found: npt.NDArray[np.void], judged: Judged, enis: Sequence[Eni], name: str) -> Iterator[str]:
    strangers = (judged.source < 0) & (judged.destination < 0)
    if strangers.all():
        asked = ", ".join(str(eni.address) for eni in enis)
        raise LabError(f"no packet of {name} is from or to {asked}; there are {_most_seen(found)}")
    if strangers.any():
        yield f"{strangers.sum()} packets are of other addresses, {_most_seen(found[strangers])}, and were left out"
    for place, eni in enumerate(enis):
        if not ((judged.source == place) | (judged.destination == place)).any():
            yield f"no packet is from or to {eni.address}: all its windows are NODATA"
    undelivered = (judged.destination >= 0) & (judged.marks_in < 0)
    if undelivered.any():
        yield f"{undelivered.sum()} packets would not have arrived: their sender's rules refuse them"
    long = found["bytes"] > ORDINARY_BYTES
    if long.any():
        yield (
            f"{long.sum()} packets are longer than {ORDINARY_BYTES} bytes: captured before or behind offloading, they "
            "count as one each"
        )


def _most_seen(found: npt.NDArray[np.void]) -> str:
    """The addresses that most packets have."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for side in ("saddr", "daddr"):
        rows, times = np.unique(found[["version", side + "_net", side]], return_counts=True)
        counts.update(dict(zip(map(tuple, rows.tolist()), times.tolist(), strict=True)))
    named = [str(address_of(*one)) for one, _ in counts.most_common(_NAMED)]
    return ", ".join(named) + (f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else "")


def _tables(
    found: npt.NDArray[np.void], judged: Judged, there: Setting, profile: Profile, window_s: int
) -> Iterator[pa.Table]:
    """Records of each ENI, window by window, NODATA between the first and the last packet of the file."""
    number = np.floor(found["time"] / window_s).astype(np.int64)
    first, last = int(number.min()), int(number.max())
    for place, eni in enumerate(there.enis):
        constants = _constants(there, eni)
        paths = unknown if there.made_up else paths_of(there.cloud, eni)
        out, inward = judged.source == place, (judged.destination == place) & (judged.marks_in >= 0)
        idle = np.ones(last - first + 1, bool)
        for window in np.unique(number[out | inward]):
            now = number == window
            harvest = _harvest(found, judged, out & now, inward & now, profile)
            start = int(window) * window_s
            ledger = Ledger(eni.id, start, start + window_s, constants, frozenset({FLOW_LOG}))
            ledger.parts.append(Part(for_records(harvest, profile.unrecorded), ledger.flow_logs))
            yield from window_records([ledger], FLOW_LOG, "ALL", profile.record_form, paths)
            idle[window - first] = False
        for low, high in _runs(idle):
            ends = range((first + low + 1) * window_s, (first + high) * window_s + 1, window_s)
            yield schema.idle(ends, window_s, {**constants, "flow_log_id": FLOW_LOG})


def _constants(there: Setting, eni: Eni) -> dict[str, Any]:
    return {
        "account_id": there.cloud.profile.account_id,
        "region": there.cloud.vpcs[eni.vpc_id].region,
        "vpc_id": eni.vpc_id,
        "subnet_id": eni.subnet_id,
        "cvm_id": eni.cvm_id,
        "eni_id": eni.id,
    }


def _harvest(found: npt.NDArray[np.void], judged: Judged, out: Mask, inward: Mask, profile: Profile) -> Harvest:
    """One entry a packet; what is the same record is merged as that of the kernel's tables is."""
    sides = [(found[out], judged.marks_out[out]), (found[inward], judged.marks_in[inward])]
    every = np.concatenate([one for one, _ in sides])
    marks = np.concatenate([one for _, one in sides])
    four = every["version"] == 4
    flows, flows6 = (
        _flows(every[chosen], marks[chosen], dtype, tcp_flags=profile.tcp_flags)
        for chosen, dtype in ((four, FLOW), (~four, FLOW6))
    )
    return Harvest(flows, 0, flows6=flows6)


def _flows(
    every: npt.NDArray[np.void], marks: npt.NDArray[np.int64], dtype: np.dtype[np.void], *, tcp_flags: bool
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    flows: np.ndarray[tuple[int], np.dtype[np.void]] = np.zeros(len(every), dtype)
    for name in set(dtype.names or ()) & set(every.dtype.names or ()) - {"flags"}:
        flows[name] = every[name]
    flows["mark"], flows["packets"] = marks, 1
    flags = shown_flags(every["flags"]) if tcp_flags else UNKNOWN_FLAGS
    flows["flags"] = np.where(every["protocol"] == TCP, flags, 0)
    return flows


def _runs(idle: Mask) -> Iterator[tuple[int, int]]:
    """Runs of windows that are idle, as first and one behind the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], idle, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
