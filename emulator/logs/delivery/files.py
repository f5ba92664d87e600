"""What folders and buckets have in common: shipments as objects, named by content.

::

    prefix (strftime of the shipment's lab time, {column} of its records) + _ + digest _ batch-row + .ending
    2026/11/21/09_5f0c9a1e77b3d204_42-0.json.gz

A shipment that is sent again makes the same bytes under the same names, so each record is there once.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.profile import Profile
from emulator.logs.checkpoints import Shipped
from emulator.logs.delivery.formats import COMPRESSIONS, FORMATS, Compression, Format, encoded, suffix
from emulator.logs.delivery.target import Sender, Sent, Shipment, Target, TargetRefuses

PREFIX = "%Y/%m/%d/%H/"
DIGITS = 16
"""Of the digest in a name."""

GROUPS_MOST = 1_000
"""Objects of one shipment, where its prefix names columns."""

PREFIX_LENGTH = 256

PART_BYTES = 100
"""Of a value in a name: a file's part may have 255, an object's whole name 1,024."""

_COLUMN = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, kw_only=True)
class FileTarget(Target):
    """Objects with records.

    ``format``        ``json`` (lines), ``csv`` (with a line of names), ``parquet``, ``orc`` or ``line`` (as the
                      provider prints a record)
    ``compression``   ``none``, ``gzip``, ``snappy`` or ``zstd``; of Parquet and ORC, the codec of their columns
    ``prefix``        how names begin: strftime's directives stand for the lab time of shipping in UTC, ``{column}``
                      for a value of the records in the object: ``region=gz/dt=%Y-%m-%d/action={action}/``
    ``expire_days``   lab days after which an object is removed; None: it stays
    """

    interval_s: float = 300
    size: int = 256 << 20
    format: Format = "json"
    compression: Compression = "none"
    prefix: str = PREFIX
    expire_days: float | None = None

    def check(self, profile: Profile) -> None:
        super().check(profile)
        if self.format not in FORMATS:
            raise self.refused(profile, "format", f"one of {', '.join(FORMATS)}")
        if self.compression not in COMPRESSIONS:
            raise self.refused(profile, "compression", f"one of {', '.join(COMPRESSIONS)}")
        if not isinstance(self.prefix, str) or len(self.prefix) > PREFIX_LENGTH or not _inside(self.prefix):
            rule = f"at most {PREFIX_LENGTH} printable characters, no / in front, no part that is empty, . or .."
            raise self.refused(profile, "prefix", rule)
        days = self.expire_days
        if not (days is None or (isinstance(days, int | float) and not isinstance(days, bool) and days > 0)):
            raise self.refused(profile, "expire_days", "lab days, more than 0, or None")

    @property
    def lifetime_days(self) -> float | None:
        return self.expire_days


class FileSender(Sender):
    """Makes the objects of a shipment, and puts each by :meth:`put`."""

    def __init__(self, target: FileTarget) -> None:
        self.target = target

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Put an object, as a whole or not at all; one that is there under this name is the same."""

    def send(self, shipment: Shipment) -> Sent:
        shipped = []
        for name, records, data in objects(self.target, shipment):
            self.put(name, data)
            shipped.append(Shipped(name, shipment.at_s, records, len(data)))
        return Sent(sum(one.size for one in shipped), shipped)


def objects(target: FileTarget, shipment: Shipment) -> Iterator[tuple[str, int, bytes]]:
    """Name, number of records and bytes of each object that a shipment makes."""
    ending = suffix(target.format, target.compression)
    first = f"{shipment.first.batch}-{shipment.first.row}"
    for prefix, records in _parts(target.prefix, shipment):
        data = encoded(records, target.format, target.compression)
        digest = hashlib.sha256(f"{shipment.topic_id}/{shipment.delivery}/{first}/".encode() + data).hexdigest()[
            :DIGITS
        ]
        joint = "" if not prefix or prefix.endswith("/") else "_"
        yield f"{prefix}{joint}{digest}_{first}{ending}", records.num_rows, data


def _parts(prefix: str, shipment: Shipment) -> Iterator[tuple[str, pa.Table]]:
    """The records by the prefix that their object has."""
    when = datetime.datetime.fromtimestamp(shipment.at_s, datetime.UTC)
    records = shipment.records
    pieces = _COLUMN.split(prefix)
    fixed, columns = [when.strftime(piece) for piece in pieces[::2]], pieces[1::2]
    if not columns:
        yield fixed[0], records
        return
    for column in columns:
        if column not in records.column_names:
            raise TargetRefuses(f"prefix {prefix!r}: the records have no {column}: {', '.join(records.column_names)}")
    texts = [pc.fill_null(pc.cast(records[column], pa.string()), "-") for column in columns]
    texts = [pc.replace_substring(text, "\0", "_") for text in texts]
    together = pc.binary_join_element_wise(*texts, "\0")
    values = pc.unique(together).to_pylist()
    if len(values) > GROUPS_MOST:
        raise TargetRefuses(f"prefix {prefix!r}: {len(values)} values in one shipment, {GROUPS_MOST} at most")
    for value in values:
        parts = map(_safe, value.split("\0"))
        name = "".join(itertools.chain.from_iterable(itertools.zip_longest(fixed, parts, fillvalue="")))
        yield name, records.filter(pc.equal(together, value))


def _safe(value: str) -> str:
    """A value as a part of a name: it opens no other folder."""
    kept = re.sub(r"[^\w.:@+-]", "_", value).encode()[:PART_BYTES].decode(errors="ignore")
    return kept if kept.strip(".") else "_" * max(1, len(kept))


def _inside(prefix: str) -> bool:
    parts = prefix.removesuffix("/").split("/") if prefix else []
    return prefix.isprintable() and not {"", "..", "."} & set(parts)
