"""vpclab: a cloud on one Linux machine, made for everything that lives on VPC Flow Logs.

``with Lab() as lab: ...`` opens an emulated cloud account; the names below are all of its public surface. Importing
needs no kernel and costs nothing: ``Lab`` is imported when it is first asked for, for the pytest plugin is loaded in
every project of an environment.
"""

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
    NotFound,
    QueryError,
    QuotaExceeded,
    RequestRefused,
    RequirementMissing,
    Unsupported,
    VpclabError,
)

if TYPE_CHECKING:
    from emulator.lab import Lab
else:

    def __getattr__(name: str) -> Any:
        if name != "Lab":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from emulator.lab import Lab

        globals()[name] = Lab
        return Lab


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
    "NotFound",
    "QueryError",
    "QuotaExceeded",
    "RequestRefused",
    "RequirementMissing",
    "Unsupported",
    "VpclabError",
]
