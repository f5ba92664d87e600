"""vpclab: a cloud on one Linux machine, made for everything that lives on VPC Flow Logs.

``with Lab() as lab: ...`` opens an emulated cloud account; the names below are all of its public surface. Importing
needs no kernel and costs nothing: ``Lab`` and ``Packet`` are imported when first asked for, for the pytest plugin is
loaded in every project of an environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emulator.errors import (
    AlreadyExists,
    AuditFailed,
    ClockError,
    CommandNotFound,
    GuestError,
    InUse,
    InvalidValue,
    KeeperLost,
    KernelRefused,
    LabClosed,
    LabError,
    LabFileError,
    NotFound,
    QueryError,
    QuotaExceeded,
    RequestRefused,
    RequirementMissing,
    StoreFailed,
    Unsupported,
    VpclabError,
)

if TYPE_CHECKING:
    from emulator.cloud.verdict import Packet
    from emulator.lab import Lab
    from emulator.logs.limits import QueryLimits
    from emulator.reading import read_logs
else:

    def __getattr__(name: str) -> Any:
        modules = {
            "Lab": "emulator.lab",
            "Packet": "emulator.cloud.verdict",
            "QueryLimits": "emulator.logs.limits",
            "read_logs": "emulator.reading",
        }
        if name not in modules:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(import_module(modules[name]), name)
        return globals()[name]


__all__ = [
    "AlreadyExists",
    "AuditFailed",
    "ClockError",
    "CommandNotFound",
    "GuestError",
    "InUse",
    "InvalidValue",
    "KeeperLost",
    "KernelRefused",
    "Lab",
    "LabClosed",
    "LabError",
    "LabFileError",
    "NotFound",
    "Packet",
    "QueryError",
    "QueryLimits",
    "QuotaExceeded",
    "RequestRefused",
    "RequirementMissing",
    "StoreFailed",
    "Unsupported",
    "VpclabError",
    "read_logs",
]
