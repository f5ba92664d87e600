"""Every refusal, as one small tree.

::

    VpclabError
    ├── LabError                 the lab itself cannot do it
    │   ├── LabClosed            used after it was closed, or closed while in use
    │   ├── KeeperLost           the keeper process is gone
    │   ├── KernelRefused        the kernel said no; carries errno and the request
    │   ├── RequirementMissing   nft, bwrap, user namespaces, ...: what is missing and the way out
    │   ├── LabFileError         a lab file that cannot be read; carries its problems
    │   ├── StoreFailed          a data folder could not take what was written; carries the provider's code
    │   ├── ClockError           time can only be moved forward, by a sane amount
    │   └── AuditFailed          what was counted is not what the kernel's links counted; carries the audit
    ├── GuestError               a command in a CVM could not be started or did not end well
    │   └── CommandNotFound
    └── RequestRefused           a cloud would refuse it; carries the provider's own code
        ├── InvalidValue         malformed, out of range, contradictory
        ├── NotFound             the object does not exist (any more)
        ├── AlreadyExists        the name, address or flow log is taken
        ├── InUse                something still depends on it
        ├── QuotaExceeded
        ├── Unsupported          this provider, profile or region does not have it
        └── QueryError           a query that was not understood; carries line and column

``except RequestRefused as refused: refused.code`` is what an SDK would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence


class VpclabError(Exception):
    """Base of everything that vpclab raises on purpose."""


class LabError(VpclabError):
    """The lab cannot do it, whatever the cloud would say."""


class LabClosed(LabError):
    """The lab was closed, or was never opened."""


class KeeperLost(LabError):
    """The keeper, which holds the lab's namespaces, has ended; the lab is gone with it."""


class KernelRefused(LabError):
    """A kernel request failed.

    ``errno`` is the kernel's (None for nftables text), ``request`` names what was asked.
    """

    def __init__(self, message: str, *, errno: int | None = None, request: str = "") -> None:
        super().__init__(message)
        self.errno = errno
        self.request = request


class RequirementMissing(LabError):
    """This machine lacks something a lab needs; ``way_out`` says what to do."""

    def __init__(self, message: str, *, way_out: str = "") -> None:
        super().__init__(f"{message}; {way_out}" if way_out else message)
        self.way_out = way_out


class StoreFailed(LabError):
    """A batch was not written: the disk is full, or the folder cannot be read or written.

    ``code`` is the provider's for its own failures, ``object`` the topic's id.
    """

    def __init__(self, message: str, *, code: str, object: str) -> None:
        super().__init__(message)
        self.code = code
        self.object = object


class LabFileError(LabError):
    """A lab file that is none, or describes what the cloud refuses: the message has a line for each problem, with file
    and line. ``problems`` have ``.place`` and ``.message``, and where the cloud refused ``.refusal``."""

    def __init__(self, message: str, *, problems: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class ClockError(LabError):
    """Lab time was asked to move backwards, by no number, or absurdly far."""


class AuditFailed(LabError):
    """The lab's books do not balance: ``audit`` says at which ENI, in which window, and of which 5-tuples."""

    def __init__(self, message: str, *, audit: object = None) -> None:
        super().__init__(message)
        self.audit = audit


class GuestError(VpclabError):
    """A command in a CVM could not be started, or failed where success was demanded."""


class CommandNotFound(GuestError):
    """The CVM has no such command."""


class RequestRefused(VpclabError):
    """A cloud would refuse this request.

    ``code``    the provider's error code, for example ``InvalidParameterValue.SubnetRange``
    ``reason``  our own, provider-neutral name of the refusal, for example ``subnet.range``
    ``object``  the id or name of the object that the request was about, ``""`` where none exists yet
    ``value``   the offending value
    """

    def __init__(self, message: str, *, code: str, reason: str = "", object: str = "", value: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.object = object
        self.value = value


class InvalidValue(RequestRefused):
    """A value is malformed, out of range or contradicts another."""


class NotFound(RequestRefused):
    """The object does not exist, or does no longer."""


class AlreadyExists(RequestRefused):
    """The name, address, range or flow log is taken."""


class InUse(RequestRefused):
    """Something still depends on the object."""


class QuotaExceeded(RequestRefused):
    """One more than the account may have."""


class Unsupported(RequestRefused):
    """The provider, profile or region does not offer it."""


class QueryError(RequestRefused):
    """A query was not understood, or cannot be answered; ``line`` and ``column`` (from 1) point into what was typed."""

    def __init__(
        self, message: str, *, code: str, line: int = 1, column: int = 1, object: str = "", value: object = None
    ) -> None:
        super().__init__(message, code=code, reason="query", object=object, value=value)
        self.line = line
        self.column = column
