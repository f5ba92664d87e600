"""What Tencent Cloud and Alibaba Cloud allow of deliveries to their object stores."""

from __future__ import annotations

from emulator.cloud.shipping import Shipping

COS = Shipping(
    interval_s=(300, 900),
    size=(5 << 20, 256 << 20),
    prefix=r"[0-9A-Za-z_/=-]{0,256}",
    prefix_rule="at most 256 letters, digits, - _ / and = (of a partition), no / in front",
    bucket=r"[a-z0-9][a-z0-9-]*-\d{8,12}",
    bucket_rule="a name and the account's number: name-1250000000",
    formats=frozenset({"json", "csv", "parquet"}),
    compressions=frozenset({"none", "gzip", "snappy"}),
    retries_s=(60, 300, 900),
)
"""CreateShipper (tencent.md §7); lzop, which it has too, is not there. How often it tries again is not documented."""

OSS = Shipping(
    interval_s=(300, 900),
    size=(5 << 20, 256 << 20),
    prefix=r"(?![/\\])[^\\]{0,256}",
    prefix_rule="at most 256 characters, neither / nor \\ in front",
    bucket=r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    bucket_rule="3 to 63 lower-case letters, digits and -, a letter or digit at both ends",
    formats=frozenset({"json", "csv", "parquet", "orc"}),
    compressions=frozenset({"none", "gzip", "snappy", "zstd"}),
    retries_s=(900, 1800, 3600),
    gives_up=True,
)
"""OSS export jobs, with the shipper's retries (alibaba.md §9.1, §9.2)."""
