"""The rule that decided for each record, in words: what searches and dashboards of a topic may ask for."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from emulator.cloud.account import Cloud
from emulator.explain import named_rule


def deciders(cloud: Cloud, lab: str, table: pa.Table) -> pa.Array:
    """A text for each record of schema RECORD, as ``lab.explain`` names its rule; null where none is known.

    ``lab`` is the one that ``cloud`` belongs to: of records that an earlier one counted no rule is known.
    """
    ours = pc.if_else(pc.equal(table["lab"], lab), pc.cast(table["rule"], pa.string()), None)
    key = pc.binary_join_element_wise(table["vpc_id"], ours, " ")
    encoded = pa.chunked_array([key]) if isinstance(key, pa.Array) else key
    encoded = encoded.combine_chunks().dictionary_encode()
    texts = []
    for pair in encoded.dictionary.to_pylist():
        vpc_id, number = pair.split(" ")
        texts.append(named_rule(cloud.rule_origin(vpc_id, int(number))))
    return pc.take(pa.array(texts, pa.string()), encoded.indices)
