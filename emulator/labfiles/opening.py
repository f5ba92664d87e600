"""A lab from its file, and a lab into one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from emulator.cloud.account import Cloud
from emulator.cloud.names import nearest
from emulator.cloud.profile import Profile
from emulator.errors import LabError, RequestRefused
from emulator.labfiles.builder import Builder, Refused
from emulator.labfiles.building import build
from emulator.labfiles.checking import Problem
from emulator.labfiles.document import Document, read
from emulator.providers import profile as find_profile

if TYPE_CHECKING:
    from emulator.lab import Lab

DEFAULT_PROFILE = "tencent"


def open_lab(
    kind: type[Lab],
    path: str | os.PathLike[str],
    profile: str | None = None,
    *,
    start: float | None = None,
    speed: float | None = None,
    data: str | os.PathLike[str] | None = None,
) -> Lab:
    """As ``Lab.from_file``."""
    document = read(path)
    said = document.data
    found = find_profile(said.get("profile", DEFAULT_PROFILE) if profile is None else profile)
    with_ids = found.name == said.get("profile", DEFAULT_PROFILE)
    cloud_of(document, found, with_ids=with_ids)  # all that is wrong is told before anything is opened
    from emulator.labfiles import topics

    lab = kind(
        found.name,
        region=_region(document, with_ids),
        start=said.get("start") if start is None else start,
        speed=said.get("speed") if speed is None else speed,
        data=_data_folder(document) if data is None else data,
        quotas=said.get("quotas"),
    )
    try:
        made = topics.make(lab, document)

        def furnish(cloud: Cloud) -> None:
            ids = {name: topic.id for name, topic in made.items()}
            build(Builder(cloud, document, now_s=int(lab.clock.now), topic_of=ids.__getitem__, with_ids=with_ids))

        lab._furnish(furnish)
        topics.make_searchable(lab, document, made)
    except BaseException:
        lab.close()
        raise
    return lab


def _region(document: Document, with_ids: bool) -> str | None:
    """The file's own, where it is of the same cloud."""
    return document.data.get("region") if with_ids else None


def cloud_of(document: Document, profile: Profile, *, with_ids: bool = True) -> Cloud:
    """The account that a document describes, without a kernel; ``with_ids`` as for a ``Builder``.

    :raises LabFileError: telling of every problem
    """
    unknown = [
        Problem(("quotas", name), f"{profile.name} has no such quota; {nearest(name, profile.quotas)}")
        for name in document.data.get("quotas", {})
        if name not in profile.quotas
    ]
    if unknown:
        raise document.refuse(unknown)
    try:
        cloud = Cloud(profile, region=_region(document, with_ids))
    except RequestRefused as refusal:
        raise document.refuse([Refused(("region",), f"{refusal} ({refusal.code})", refusal)]) from refusal
    cloud.quotas.update(document.data.get("quotas", {}))
    build(Builder(cloud, document, now_s=0, with_ids=with_ids))
    return cloud


def _data_folder(document: Document) -> Path | None:
    if "data" not in document.data:
        return None
    folder = Path(os.path.realpath(document.folder / document.data["data"]))
    if not folder.is_relative_to(document.folder):
        raise document.refuse([Problem(("data",), f"{document.data['data']} is not in the folder of the file")])
    return folder


def save_lab(lab: Lab, to: str | os.PathLike[str], records: str | os.PathLike[str] | None) -> None:
    """As ``Lab.save``; the file is replaced at once, and only when all else is done."""
    path, data = _path(to, "save to"), None if records is None else _path(records, "save records to")
    text = tomli_w.dumps(describe(lab, None if data is None else _beside(path, data)))
    if data is not None:
        from emulator.labfiles.topics import copy_records

        if data.exists() and any(data.iterdir()):
            raise LabError(f"save to {path}: data={str(data)!r} is not empty; give a folder that is not there yet")
        copy_records(lab.logs, data)
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise LabError(f"save to {path}: {error.strerror}") from error


def describe(lab: Lab, data: str | None = None) -> dict[str, Any]:
    """A lab as a document's data."""
    from emulator.labfiles import topics
    from emulator.labfiles.writing import Writer

    now = lab.clock.now
    quotas = {name: most for name, most in lab.quotas.items() if lab.profile.quotas[name] != most}
    options = {
        "profile": lab.profile.name,
        "region": lab.cloud.region,
        "start": int(now) if now == int(now) else now,
        "speed": lab.clock.speed,
        "data": data,
        "quotas": quotas or None,
    }
    told = topics.describe(lab.logs.topics(), lab.cloud.flow_logs.values(), lab.profile)
    names = dict(zip((topic.id for topic in lab.logs.topics()), told, strict=True))
    objects = Writer(lab.cloud, names).document()
    flow_logs = objects.pop("flow_log", {})
    kinds = {**objects, "topic": told, "flow_log": flow_logs}
    return {key: one for key, one in {**options, **kinds}.items() if one not in (None, {})}


def _path(given: object, what: str) -> Path:
    path = Path(given) if isinstance(given, str | os.PathLike) else Path()
    if not path.name or "\0" in path.name:
        raise LabError(f"{what} {given!r}: give the path of a file or a new folder")
    return path


def _beside(path: Path, data: Path) -> str:
    """The data folder as the file is to name it."""
    folder = Path(os.path.realpath(path)).parent
    real = Path(os.path.realpath(data))
    if not real.is_relative_to(folder):
        raise LabError(f"save to {path}: data={str(data)!r} is not in the folder of the file, or below it")
    return str(real.relative_to(folder))
