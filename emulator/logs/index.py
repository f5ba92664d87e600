"""What of a topic can be searched, and as what: the index.

A text field is cut into words at its delimiters; searches compare words. A long or double field is a number;
what is none has no value there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, cast

import pyarrow as pa

Kind = Literal["text", "long", "double"]
KINDS: tuple[Kind, ...] = ("text", "long", "double")

DEFAULT_DELIMITERS: Mapping[str, str] = {
    "tencent": "@&?|#()='\",;:<>[]{}/ \n\t\r",
    "alibaba": ", '\";=()[]{}?@&</>:\n\t\r",
}
"""By provider: CLS's console tokenizer (tencent.md §5.1), SLS's default tokens (alibaba.md §5.4)."""

FLOW_DELIMITERS = "@&?|#()='\",;<>[]{}/ \n\t\r"
"""Keeps addresses, IPv6 ones included, and ids whole: no ``.``, no ``-``, no ``:``."""


@dataclass(frozen=True)
class Field:
    """How one key is indexed. ``sql`` is the statistics switch: whether SQL may use the key."""

    kind: Kind
    delimiters: str = ""
    case_sensitive: bool = False
    sql: bool = True


@dataclass(frozen=True)
class Index:
    """The keys that can be searched, in their order."""

    fields: Mapping[str, Field]

    def to_json(self) -> str:
        return json.dumps({name: asdict(field) for name, field in self.fields.items()})

    @classmethod
    def from_json(cls, text: str) -> Index:
        return cls({name: Field(**field) for name, field in json.loads(text).items()})


def index_of(kinds: Mapping[str, str], delimiters: str) -> Index:
    """Key → ``text``, ``long`` or ``double`` (checked by the caller), statistics on, text without case."""
    return Index({key: Field(cast(Kind, kind), delimiters if kind == "text" else "") for key, kind in kinds.items()})


def flow_index(schema: pa.Schema) -> Index:
    """The index of flow records in this schema: int64 columns as long, others as text that keeps addresses whole.

    ``__time__`` and hidden columns are left out.
    """
    visible = [column for column in schema if not column.name.startswith("_")]
    kinds = {column.name: "long" if pa.types.is_integer(column.type) else "text" for column in visible}
    return index_of(kinds, FLOW_DELIMITERS)
