"""Object stores: COS, OSS and whatever else speaks S3, through obstore.

An object is put as a whole or not at all, under a name that its content gives. COS and OSS are what the lab's provider
delivers to, within its limits; ``endpoint`` leads to a server of one's own instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.cloud.profile import Profile
from emulator.errors import RequirementMissing, Unsupported
from emulator.logs.checkpoints import Shipped
from emulator.logs.delivery.files import FileSender, FileTarget
from emulator.logs.delivery.http import BUSY, SHOWN, URL_RULE, is_url
from emulator.logs.delivery.target import Sender, TargetDown, TargetRefuses, secret
from emulator.logs.refusal import refuse

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3Store

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
BUCKET_RULE = "3 to 63 lower-case letters, digits, . and -"

REGION = r"[A-Za-z0-9_-]{1,64}"

_TOLD = re.compile(r"<Code>(.*?)</Code>(?:\s*<Message>(.*?)</Message>)?", re.DOTALL)

_REQUEST = re.compile(r"^.*? in \S+ - (Server returned non-2xx status code: )?")
"""What obstore says before the reason: of which request, and how long it took."""

_STATUS = re.compile(r"status code: ([34]\d\d) |(redirect) without LOCATION")
_MAY_PASS = (*map(str, BUSY), "307", "409")
"""A bucket that is new is redirected for a while; a conflict is one with another operation on it."""

_UNTRUSTED = "its certificate is not trusted"
_NO_ANSWER = "error sending request"
_CAUSES = {
    "TimedOut": "no answer in time",
    "IncompleteMessage": "the connection was closed before an answer",
    "InvalidCertificate": _UNTRUSTED,
}
_CAUSE = re.compile(r'(?:message|error): "([^"]*)"')
"""Why there is none, in obstore's account of an error."""


@dataclass(frozen=True)
class S3(FileTarget):
    """Deliver to a bucket of any store that speaks S3.

    ``endpoint``    where it is, ``https://…``; left out, where AWS has the region
    ``timeout_s``   wall time for which a request may hang
    """

    kind = "s3"
    bucket: str = field(kw_only=False)
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = secret()
    secret_key: str | None = secret()
    timeout_s: float = 2.0

    def check(self, profile: Profile) -> None:
        super().check(profile)
        _needed()
        if not isinstance(self.bucket, str) or not re.fullmatch(BUCKET, self.bucket):
            raise self.refused(profile, "bucket", BUCKET_RULE)
        for name in ("access_key", "secret_key"):
            key = getattr(self, name)
            if not key or not key.isascii():
                message = f"{type(self).__name__}: {name} is missing or not ASCII; requests are signed with it"
                raise self.refused_as(profile, message)
        if self.endpoint is not None and not is_url(self.endpoint):
            raise self.refused(profile, "endpoint", URL_RULE)
        if not isinstance(self.region, str) or not re.fullmatch(REGION, self.region):
            raise self.refused(profile, "region", "letters, digits, - and _")
        if not isinstance(self.timeout_s, int | float) or not 0 < self.timeout_s <= 600:
            raise self.refused(profile, "timeout_s", "seconds, at most 600")

    def opened(self) -> Sender:
        return _BucketSender(self)

    def home(self) -> str | None:
        """The provider's own endpoint of the bucket, with the bucket in its host name."""
        return None


@dataclass(frozen=True)
class _OfProvider(S3):
    """A bucket at the lab's own provider, within its limits; data in ``providers/``."""

    def check(self, profile: Profile) -> None:
        limits = profile.shipping.get(self.kind)
        if limits is None:
            there = ", ".join(sorted(profile.shipping)) or "none"
            message = f"{type(self).__name__}: {profile.name} delivers to {there}; S3(…) goes anywhere"
            raise refuse(Unsupported, profile, "delivery.kind", message, value=self.kind)
        super().check(profile)
        for name, (low, high) in (("interval_s", limits.interval_s), ("size", limits.size)):
            if not low <= getattr(self, name) <= high:
                raise self.refused(profile, name, f"from {low} to {high}")
        if self.format not in limits.formats:
            raise self.refused(profile, "format", f"one of {', '.join(sorted(limits.formats))}")
        if self.compression not in limits.compressions:
            raise self.refused(profile, "compression", f"one of {', '.join(sorted(limits.compressions))}")
        if not re.fullmatch(limits.bucket, self.bucket):
            raise self.refused(profile, "bucket", limits.bucket_rule)
        if not re.fullmatch(limits.prefix, re.sub(r"%.|\{[^{}]*\}", "0", self.prefix)):
            raise self.refused(profile, "prefix", limits.prefix_rule)
        if self.region not in profile.regions:
            raise self.refused(profile, "region", f"a region of {profile.provider}")


@dataclass(frozen=True)
class Cos(_OfProvider):
    """Deliver to a bucket of Tencent Cloud Object Storage: ``Cos("audit-1250000000", region="ap-guangzhou", …)``."""

    kind = "cos"
    region: str = "ap-guangzhou"

    def home(self) -> str:
        return f"https://{self.bucket}.cos.{self.region}.myqcloud.com"


@dataclass(frozen=True)
class Oss(_OfProvider):
    """Deliver to a bucket of Alibaba Cloud Object Storage Service."""

    kind = "oss"
    region: str = "cn-hangzhou"

    def home(self) -> str:
        return f"https://{self.bucket}.oss-{self.region}.aliyuncs.com"


class _BucketSender(FileSender):
    target: S3

    def __init__(self, target: S3) -> None:
        super().__init__(target)
        self._opened: S3Store | None = None

    def put(self, name: str, data: bytes) -> None:
        import obstore

        try:
            # Parts of a large object are requests of their own; it appears when all are there.
            obstore.put(self._store(), name, data, max_concurrency=2)
        except (obstore.exceptions.BaseError, OSError) as error:  # what is not found is Python's own error
            raise _told(error, self.target) from None

    def remove(self, objects: Sequence[Shipped]) -> None:
        import obstore

        for one in objects:
            try:
                obstore.delete(self._store(), one.name)
            except FileNotFoundError:
                continue
            except (obstore.exceptions.BaseError, OSError) as error:
                raise _told(error, self.target) from None

    def close(self) -> None:
        self._opened = None

    def _store(self) -> S3Store:
        if self._opened is None:
            from obstore.store import S3Store

            home = self.target.home() if self.target.endpoint is None else None
            endpoint = self.target.endpoint or home
            wait = f"{self.target.timeout_s}s"
            config: S3Config = {
                "region": self.target.region,
                "virtual_hosted_style_request": home is not None,
                "skip_signature": False,
            }
            if endpoint is not None:
                config["endpoint"] = endpoint
            self._opened = S3Store(
                self.target.bucket,
                config=config,
                client_options={
                    "timeout": wait,
                    "connect_timeout": wait,
                    "allow_http": str(endpoint).startswith("http://"),
                },
                # As keys in ``config``, the environment's AWS_SESSION_TOKEN would be put beside them.
                credential_provider=self._keys,
                retry_config={"max_retries": 0},  # ours are in lab time
            )
        return self._opened

    def _keys(self) -> S3Credential:
        keys = {"access_key_id": self.target.access_key or "", "secret_access_key": self.target.secret_key or ""}
        return {**keys, "expires_at": None}  # type: ignore[typeddict-item]


def _told(error: Exception, target: S3) -> TargetDown | TargetRefuses:
    """What the store said, in a line."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    message = f"bucket {target.bucket}: {_said(str(error))[:SHOWN]}"
    if isinstance(error, FileNotFoundError):
        return TargetRefuses(f"{message}; make the bucket and restart() the delivery", "delivery.missing")
    if _UNTRUSTED in message:
        return TargetRefuses(message, "delivery.denied")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return TargetRefuses(f"{message}; restart(to=…) with keys that may write there", "delivery.denied")
    status = _STATUS.search(str(error))
    if status and status[1] not in _MAY_PASS and "RequestTimeout" not in message:
        return TargetRefuses(f"{message}; restart(to=…) with what the store takes")
    return TargetDown(message)


def _said(error: str) -> str:
    if found := _TOLD.search(error):
        return ": ".join(part for part in found.groups() if part)
    line, _, account = error.partition("\n")
    if line.endswith(_NO_ANSWER):
        for name, said in _CAUSES.items():
            if name in account:
                return said
        if cause := _CAUSE.search(account):
            return cause[1]
    return _REQUEST.sub("", line)


def _needed() -> None:
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise RequirementMissing(
            "deliveries to object stores need obstore", way_out="pip install 'vpclab[delivery]'"
        ) from None
