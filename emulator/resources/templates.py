"""Prefix lists and parameter templates: lists that rules name, and follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from emulator.cloud import model
from emulator.cloud.account import Cloud
from emulator.errors import LabClosed, LabError, RequestRefused
from emulator.resources.base import Resource


class Template(Resource[model.Template]):
    """A prefix list or a port list (Alibaba), an address or a service template, or a group of such (Tencent).

    Given to a rule as its ``cidr`` (addresses) or its ``port`` (ports, services). What is changed here holds for every
    rule that names it when the call returns.
    """

    _table = "templates"

    @property
    def kind(self) -> model.TemplateKind:
        return self.model.kind

    @property
    def entries(self) -> tuple[str, ...]:
        """As the provider keeps them; of a group the ids of its members."""
        return self.model.entries

    def add(self, *entries: str | Template) -> None:
        """Add entries, all or none."""
        written = self._written(entries)
        self._renew(lambda cloud: cloud.add_entries(self.id, written))

    def remove(self, *entries: str | Template) -> None:
        """Remove entries, all or none."""
        written = self._written(entries)
        self._renew(lambda cloud: cloud.remove_entries(self.id, written))

    def delete(self) -> None:
        """Refused while a rule or a group of templates names it."""
        self._lab._change(lambda cloud: cloud.delete_template(self.id))

    def _written(self, entries: tuple[str | Template, ...]) -> tuple[str, ...]:
        return tuple(self._here(entry, Template) if isinstance(entry, Template) else entry for entry in entries)

    def _renew(self, change: Callable[[Cloud], model.Template]) -> None:
        try:
            self._lab._change(change, then=lambda _: self._follow())
        except (RequestRefused, LabClosed):
            raise  # before the kernel was asked
        except BaseException:
            # The list is as it was; where one VPC took the change and another did not, rules follow it back.
            with self._lab._lock, contextlib.suppress(LabError):
                self._lab._check_open()
                self._follow()
            raise

    def _follow(self) -> None:
        """Let the kernel judge by the entries of now."""
        users: dict[str, list[str]] = {}
        for owner in self._lab.cloud.template_users(self.id):
            users.setdefault(owner.vpc_id, []).append(owner.id)
        for vpc_id, owners in users.items():
            self._lab.fabric.vpcs[vpc_id].rules_changed(*owners)
