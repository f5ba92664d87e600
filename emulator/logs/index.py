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
from emulator.logs.names import wrong_with_key
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
    told = told_at(indexes, max(indexes, default=0))
    return None if told is None else Index.from_json(told)


def told_at(indexes: Mapping[int, str | None], batch: int) -> str | None:
    """The index in JSON that held when a batch was written."""
    return indexes.get(max((first for first in indexes if first <= batch), default=0))


def index_from(keys: object, full_text: object, delimiters: str, profile: Profile, topic_id: str) -> Index:
    """The index that a user asks for, with these delimiters where none are said; refused where it can be none."""
    words = keys.full_text if isinstance(keys, Index) and keys.full_text is not None else full_text
    words = FullText(delimiters) if words is True else None if words is False else words
    fields = keys.fields if isinstance(keys, Index) else keys
    message = _wrong_with(keys, fields, words)
    if message:
        message = f"an index maps keys to {', '.join(KINDS)}: {message}"
        raise refuse(InvalidValue, profile, "index.keys", message, object=topic_id, value=keys)
    known = cast(Mapping[str, Any], fields)
    if len(known) > KEYS_MOST:
        message = f"an index has at most {KEYS_MOST} keys, not {len(known)}"
        raise refuse(QuotaExceeded, profile, "index.quota", message, object=topic_id, value=len(known))
    return Index(known if isinstance(keys, Index) else index_of(known, delimiters).fields, cast(FullText | None, words))


def _wrong_with(keys: object, fields: object, words: object) -> str:
    if not isinstance(fields, Mapping):
        return f"this is {fields!r}"
    for key, field in fields.items():
        why = wrong_with_key(key) or _wrong_with_field(field, whole=isinstance(keys, Index))
        if why:
            return f"{key!r}: {why}"
    starred = [key for key in _sub_keys(fields) if "*" in key]  # a path with it would find several
    if starred:
        return f"{starred[0]!r}: a sub-key has no *"
    if not (words is None or (isinstance(words, FullText) and _good_words(words))):
        return f"full_text is True, False or FullText(delimiters, case_sensitive), not {words!r}"
    return "" if fields or words is not None else "there is no key, and no full text either"


def _wrong_with_field(field: object, *, whole: bool) -> str:
    if not whole:
        return "" if field in KINDS else f"{field!r} is no such kind"
    if isinstance(field, Field) and field.kind in KINDS and isinstance(field.sql, bool) and _good_words(field):
        return ""
    return f"Field(kind, delimiters, case_sensitive, sql) is what an Index has, not {field!r}"


def _good_words(told: Field | FullText) -> bool:
    text = told.delimiters
    good = isinstance(text, str) and text.encode(errors="ignore").decode() == text  # whole Unicode
    return good and isinstance(told.case_sensitive, bool)


def _sub_keys(fields: Mapping[str, Any]) -> list[str]:
    parents = [f"{key}." for key, field in fields.items() if "json" in (field, getattr(field, "kind", ""))]
    return [key for key in fields if any(key.startswith(parent) for parent in parents)]


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
