"""What a lab makes that lies in no VPC: public addresses, CCNs, the internet, and lists that rules name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from emulator import resources
from emulator.cloud import model
from emulator.resources.base import id_in

if TYPE_CHECKING:
    from emulator.lab import Lab


class AccountWide:
    """The part of ``Lab`` that makes them."""

    @property
    def _lab(self) -> Lab:
        return cast("Lab", self)

    @property
    def internet(self) -> resources.Internet:
        """The lab's own internet: ``internet.host("visitor", region="ap-singapore")`` is a machine on it."""
        return resources.Internet(self._lab)

    def allocate_address(self, name: str | None = None, *, region: str | None = None) -> resources.Eip:
        """An EIP, a public address of a region, bound to nothing yet."""
        eip = self._lab._change(lambda cloud: cloud.allocate_eip(name=name, region=region))
        return resources.Eip(self._lab, eip.id)

    def create_ccn(self, name: str | None = None) -> resources.Ccn:
        """Tencent's CCN, Alibaba's CEN: joins VPCs of any regions once they are attached."""
        ccn = self._lab._change(lambda cloud: cloud.create_ccn(name=name))
        return resources.Ccn(self._lab, ccn.id)

    create_cen = create_ccn

    def create_prefix_list(
        self, name: str | None = None, *, entries: Sequence[str] = (), max_entries: int | None = None
    ) -> resources.Template:
        """Alibaba: networks that rules of security groups name as one, ``cidr=list``.

        With ``max_entries`` it never holds more, and a rule that names it counts as so many, however few it holds.
        """
        return self._create_template("prefix_list", name, entries, max_entries)

    def create_port_list(
        self, name: str | None = None, *, entries: Sequence[str] = (), max_entries: int | None = None
    ) -> resources.Template:
        """Alibaba: ports, ``443`` or ``8000-8100``, that rules of security groups name as one beside a protocol,
        ``protocol="tcp", port=list``; ``max_entries`` as for a prefix list."""
        return self._create_template("port_list", name, entries, max_entries)

    def create_address_template(self, name: str | None = None, *, entries: Sequence[str]) -> resources.Template:
        """Tencent: addresses, ranges ``10.0.0.1-10.0.0.100`` and networks that rules name as one, ``cidr=template``."""
        return self._create_template("address_template", name, entries)

    def create_address_group(
        self, name: str | None = None, *, templates: Sequence[resources.Template]
    ) -> resources.Template:
        """Tencent: several address templates as one."""
        return self._create_template("address_group", name, templates)

    def create_service_template(self, name: str | None = None, *, entries: Sequence[str]) -> resources.Template:
        """Tencent: protocols with ports, ``TCP:80,443`` or ``ICMP``, that rules name as one, ``port=template``."""
        return self._create_template("service_template", name, entries)

    def create_service_group(
        self, name: str | None = None, *, templates: Sequence[resources.Template]
    ) -> resources.Template:
        """Tencent: several service templates as one."""
        return self._create_template("service_group", name, templates)

    def _create_template(
        self,
        kind: model.TemplateKind,
        name: str | None,
        entries: Sequence[str] | Sequence[resources.Template],
        max_entries: int | None = None,
    ) -> resources.Template:
        given = entries if isinstance(entries, Iterable) and not isinstance(entries, str) else [entries]
        what = kind.replace("_", " ") if name is None else name
        written = [
            id_in(self._lab, entry, resources.Template, what) if isinstance(entry, resources.Resource) else entry
            for entry in given
        ]
        made = self._lab._change(lambda cloud: cloud.create_template(kind, written, name=name, max_entries=max_entries))
        return resources.Template(self._lab, made.id)
