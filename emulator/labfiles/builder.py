"""What the parts of building share: who is who by name, which ids are given, and what was refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emulator.cloud.account import Cloud
from emulator.cloud.names import nearest
from emulator.errors import QuotaExceeded, RequestRefused
from emulator.labfiles.checking import Problem
from emulator.labfiles.document import Document
from emulator.positions import Place

ID_KINDS: Mapping[str, str] = {
    "vpc": "vpc",
    "subnet": "subnet",
    "security_group": "group",
    "network_acl": "acl",
    "cvm": "cvm",
    "eni": "eni",
    "route_table": "route_table",
    "internet_gateway": "internet_gateway",
    "nat_gateway": "nat_gateway",
    "eip": "eip",
    "peering": "peering",
    "ccn": "ccn",
    "internet_host": "internet_host",
    "flow_log": "flow_log",
}
"""Kinds of a lab file → those of ids; a template's is its own ``kind``."""


@dataclass(frozen=True)
class Refused(Problem):
    """A problem that the cloud has with a document; ``refusal`` carries the provider's code."""

    refusal: RequestRefused | None = None


class Wrong(Exception):
    """Something is wrong with an object; ``message`` is empty where that is told elsewhere."""

    def __init__(self, message: str = "", *rest: str | int) -> None:
        super().__init__(message)
        self.message, self.rest = message, rest


class Builder:
    """Builds the objects of a document into ``cloud``. ``topic_of`` gives the id of a topic by its name in the file;
    ``with_ids`` is False where the ids in the file are of another cloud's form."""

    def __init__(
        self,
        cloud: Cloud,
        document: Document,
        *,
        now_s: int,
        topic_of: Callable[[str], str] = lambda name: name,
        with_ids: bool = True,
    ) -> None:
        self.cloud, self.document, self.problems = cloud, document, list[Problem]()
        self.ids: dict[tuple[str, str], str] = {}
        """Of what was built, by kind and name."""
        self.now_s, self.topic_of = now_s, topic_of
        self._with_ids = with_ids
        self._full: set[str] = set()

    def objects(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a kind; once its quota is full, what follows is left out."""
        for name, one in self.document.objects(kind):
            if kind in self._full:
                return
            yield name, one

    @contextmanager
    def making(self, *place: str | int, **ids: str | Sequence[str | None] | None) -> Iterator[None]:
        """A block that builds the object at ``place``, whose ids by kind are these; what is refused is noted."""
        several = {kind: (id,) if isinstance(id, str) else id for kind, id in ids.items() if id}
        self.cloud.prescribe_ids(several if self._with_ids else {})
        try:
            yield
        except Wrong as wrong:
            if wrong.message:
                self.problems.append(Problem((*place, *wrong.rest), wrong.message))
        except RequestRefused as refusal:
            self.problems.append(Refused(self._blamed(place, refusal), f"{refusal} ({refusal.code})", refusal))
            if isinstance(refusal, QuotaExceeded) and len(place) == 2:
                self._full.add(str(place[0]))
        finally:
            self.cloud.prescribe_ids({})

    def _blamed(self, place: Place, refusal: RequestRefused) -> Place:
        """The key whose value was refused, where that can be told."""
        table: Any = self.document.data
        for step in place:
            table = table[step]
        return next(((*place, key) for key, value in table.items() if value == refusal.value), place)

    def reference(self, kinds: str | tuple[str, ...], name: str, *where: str | int) -> str:
        """The id of an object by its name, or by kind and name (``subnet.web``) where several kinds have the name."""
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        kind, _, rest = name.partition(".")
        if kind in kinds and rest in self.document.data.get(kind, {}):
            found = [(kind, rest)]
        else:
            found = [(kind, name) for kind in kinds if name in self.document.data.get(kind, {})]
        if not found:
            what = " or ".join(kind.replace("_", " ") for kind in kinds)
            known = [one for kind in kinds for one in self.document.names(kind)]
            raise Wrong(f"there is no {what} {name!r}; {nearest(name, known)}", *where)
        if len(found) > 1:
            raise Wrong(f"{name!r} is {' and '.join('.'.join(one) for one in found)}; write one of these", *where)
        if found[0] not in self.ids:
            raise Wrong  # it was refused itself
        return self.ids[found[0]]

    def only(self, kind: str, one: Mapping[str, Any]) -> str:
        """The id of the object of a kind that ``one`` names, or of the only one there is."""
        if kind in one:
            return self.reference(kind, one[kind], kind)
        names = self.document.names(kind)
        if len(names) != 1:
            there = f"there are {', '.join(names[:8])}" if names else f"and the file has no {kind}"
            raise Wrong(f"{kind} is missing; {there}")
        return self.reference(kind, names[0])

    def made(self, kind: str, name: str, id: str) -> None:
        self.ids[kind, name] = id

    def reserve_ids(self) -> None:
        """Keep the ids of the document for those whom it gives them.

        :raises LabFileError: some are none of the provider's, or given twice
        """
        if not self._with_ids:
            return
        seen: dict[str, Place] = {}
        for place, kind, id in _given_ids(self.document):
            prefix, length = self.cloud.profile.id_prefixes.get(kind), self.cloud.profile.id_length
            if kind == "mac":
                pattern, like = rf"{self.cloud.profile.mac_prefix}(:[0-9a-f]{{2}}){{3}}", "00:00:01"
                like = f"{self.cloud.profile.mac_prefix}:{like}"
            else:
                pattern, like = rf"{prefix}[0-9a-z]{{{length}}}", f"{prefix}{'0' * length}"
            if not re.fullmatch(pattern, id):
                self.problems.append(
                    Problem(place, f"{id!r} is none of {self.cloud.profile.name}; write it like {like}")
                )
            elif id in seen:
                self.problems.append(Problem(place, f"{id} is at {'.'.join(map(str, seen[id]))} already"))
            seen[id] = place
        if self.problems:
            raise self.document.refuse(self.problems)
        self.cloud.reserve_ids(seen)


def called(name: str, one: Mapping[str, Any]) -> str | None:
    """The name of an object: its own, else that of its table; None where that is its id."""
    return str(one.get("name", name)) if one.get("name", name) != one.get("id") else None


def _given_ids(document: Document) -> Iterator[tuple[Place, str, str]]:
    """Every id that a document prescribes: its place, its kind, itself."""
    for kind in (*ID_KINDS, "template"):
        for name, one in document.objects(kind):
            keys = {"id": ID_KINDS.get(kind) or one["kind"], "eni_id": "eni", "mac": "mac"}
            yield from (((kind, name, key), inner, one[key]) for key, inner in keys.items() if key in one)
            lists = {
                "rules": "acl_rule" if kind == "network_acl" else "group_rule",
                "snat": "snat_entry",
                "port_forwards": "port_forward",
                "vpcs": "ccn_attachment",
            }
            for key, inner in lists.items():
                for index, entry in enumerate(one.get(key, ())):
                    if "id" in entry:
                        yield (kind, name, key, index, "id"), inner, entry["id"]
