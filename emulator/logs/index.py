"""What of a topic can be searched, and as what: the index.

A text field is cut into words at its delimiters; searches compare words. A long or double field is a number;
what is none has no value there. A json field is text, and its sub-keys are fields of their own: ``request`` as json,
``request.status`` as long. What is no JSON has none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import pyarrow as pa

from emulator.cloud.profile import Profile
from emulator.errors import InvalidValue, QuotaExceeded
from emulator.logs.refusal import refuse

Kind = Literal["text", "long", "double", "json"]
KINDS: tuple[Kind, ...] = ("text", "long", "double", "json")

WORDS: tuple[Kind, ...] = ("text", "json")
"""What is cut into words and compared by them."""

DEFAULT_DELIMITERS: Mapping[str, str] = {
    "tencent": "@&?|#()='\",;:<>[]{}/ \n\t\r",
    "alibaba": ", '\";=()[]{}?@&</>:\n\t\r",
}
"""By provider: CLS's console tokenizer (tencent.md §5.1), SLS's default tokens (alibaba.md §5.4)."""

FLOW_DELIMITERS = "@&?|#()='\",;<>[]{}/ \n\t\r"
"""Keeps addresses, IPv6 ones included, and ids whole: no ``.``, no ``-``, no ``:``."""


BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "tencent": {"__SOURCE__": "", "__FILENAME__": "", "__HOSTNAME__": ""},
    "alibaba": {"__topic__": "flow_log", "__source__": "log_service"},
}
"""By provider: what any index makes searchable besides, as one exact word, and what it holds in flow records.

What these hold at Tencent is not documented: they are there, and empty. (tencent.md §5.6, alibaba.md §1.1, §5.1.)
"""

BUILT_IN_FIELD_OF = "_vpclab_flow_log_id"
"""The hidden column that flow records have and other logs have not."""

DECIDED_BY = "_vpclab_decided_by"
"""The hidden column that names the rule which decided for a flow record."""

RULE_KEY: Mapping[str, str] = {"tencent": "__RULE__", "alibaba": "__rule__"}
"""By provider: the key of ours by which queries ask for it, written as the provider's reserved ones; not in ``*``."""

KEYS_MOST = 300
"""Keys of one index, as CLS has it (tencent.md §5.1)."""


@dataclass(frozen=True)
class Field:
    """How one key is indexed. ``sql`` is the statistics switch: whether SQL may use the key."""

    kind: Kind
    delimiters: str = ""
    case_sensitive: bool = False
    sql: bool = True


@dataclass(frozen=True)
class FullText:
    """How the values of all keys are indexed together, for words that name no key."""

    delimiters: str
    case_sensitive: bool = False


@dataclass(frozen=True)
class Index:
    """The keys that can be searched, in their order, and whether words are looked for in all values."""

    fields: Mapping[str, Field]
    full_text: FullText | None = None

    def to_json(self) -> str:
        fields = {name: asdict(field) for name, field in self.fields.items()}
        return json.dumps({"fields": fields, "full_text": self.full_text and asdict(self.full_text)})

    @classmethod
    def from_json(cls, text: str) -> Index:
        told = json.loads(text)
        full_text = told.get("full_text")
        fields = {name: Field(**field) for name, field in told["fields"].items()}
        return cls(fields, None if full_text is None else FullText(**full_text))


def parent_of(name: str, fields: Mapping[str, Field]) -> str | None:
    """The json field that a sub-key belongs to."""
    parts = name.split(".")
    parents = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((one for one in parents if one in fields and fields[one].kind == "json"), None)


@dataclass(frozen=True)
class Age:
    """An index and the batches that it holds for, ``first`` included, ``end`` not (None: all that come)."""

    index: Index
    first: int
    end: int | None


def ages(indexes: Mapping[int, str | None]) -> list[Age]:
    """Which index holds for which batches, by what a store keeps; a change holds from then on.

    What was written while there was none is in no age, and in no answer.
    """
    firsts = sorted(indexes)
    ends: list[int | None] = [*firsts[1:], None]
    found: list[Age] = []
    for first, end in zip(firsts, ends, strict=False):
        told = indexes[first]
        if told is None or first == end:
            continue
        index = Index.from_json(told)
        if found and found[-1].end == first and found[-1].index == index:
            found[-1] = Age(index, found[-1].first, end)
        else:
            found.append(Age(index, first, end))
    return found


def holding(found: Sequence[Age], lowest: int, highest: int) -> list[Age]:
    """Those of ``found`` that hold for one of the batches from ``lowest`` to ``highest``, the last if none does.

    What bounds none of these batches is left out.
    """
    return [
        Age(
            age.index,
            age.first if lowest < age.first else 0,
            age.end if age.end is not None and highest >= age.end else None,
        )
        for age in found
        if age.first <= highest and (age.end is None or age.end > lowest)
    ] or [found[-1]]


def index_now(indexes: Mapping[int, str | None]) -> Index | None:
    """The index for what comes, by what a store keeps."""
    return index_at(indexes, max(indexes, default=0))


def index_at(indexes: Mapping[int, str | None], batch: int) -> Index | None:
    """The index that held when a batch was written."""
    told = indexes.get(max((first for first in indexes if first <= batch), default=0))
    return None if told is None else Index.from_json(told)


def check_keys(kinds: object, profile: Profile, topic_id: str, *, needed: bool) -> None:
    """Refuse what cannot be the keys of an index; none at all where full text is not there to be enough."""
    good = isinstance(kinds, Mapping) and all(
        isinstance(key, str) and key and not key.startswith("_") and kind in KINDS for key, kind in kinds.items()
    )
    good = good and not any("*" in key for key in _sub_keys(kinds))  # a path with it would find several
    if not good or (needed and not kinds):
        message = (
            f"an index maps keys to {', '.join(KINDS)}; keys do not start with _, sub-keys have no *; this is {kinds!r}"
        )
        raise refuse(InvalidValue, profile, "write.key", message, object=topic_id, value=kinds)
    if len(kinds) > KEYS_MOST:  # type: ignore[arg-type]
        message = f"an index has at most {KEYS_MOST} keys, not {len(kinds)}"  # type: ignore[arg-type]
        raise refuse(QuotaExceeded, profile, "index.keys", message, object=topic_id, value=KEYS_MOST)


def _sub_keys(kinds: Any) -> list[str]:
    parents = [f"{key}." for key, kind in kinds.items() if kind == "json"]
    return [key for key in kinds if any(key.startswith(parent) for parent in parents)]


def index_of(kinds: Mapping[str, str], delimiters: str) -> Index:
    """Key → kind (checked by the caller), statistics on, text without case."""
    return Index({key: Field(cast(Kind, kind), delimiters if kind in WORDS else "") for key, kind in kinds.items()})


def flow_index(schema: pa.Schema) -> Index:
    """The index of flow records in this schema: int64 columns as long, others as text that keeps addresses whole.

    ``__time__`` and hidden columns are left out.
    """
    visible = [column for column in schema if not column.name.startswith("_")]
    kinds = {column.name: "long" if pa.types.is_integer(column.type) else "text" for column in visible}
    return index_of(kinds, FLOW_DELIMITERS)
