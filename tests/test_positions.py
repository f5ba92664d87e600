"""Lines of what stands in a TOML text."""

from __future__ import annotations

import pytest

from emulator.positions import line_of

TEXT = """# a comment
profile = "tencent"

[cvm.A]
private_ip = "10.0.0.1"  # [cvm.B]
security_groups = ["a",
  "b",
]
note = '''
[cvm.B]
'''
[cvm."B C"]
[[group.rules]]
allow = "ingress"
[[group.rules]]
deny = "ingress"
[security]
rules = [
  { allow = "ingress" },
  # nothing
  { allow = "egress",  port = 1 },
  { deny = "egress" }
]
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("profile",), 2),
        (("cvm",), 4),
        (("cvm", "A", "private_ip"), 5),
        (("cvm", "A", "security_groups", 0), 6),
        (("cvm", "A", "security_groups", 1), 7),
        (("cvm", "B C"), 12),
        (("group", "rules", 1, "deny"), 16),
        (("security", "rules", 0, "allow"), 19),
        (("security", "rules", 1, "port"), 21),
        (("security", "rules", 2), 22),
        (("cvm", "A", "missing"), 4),
        (("missing", "A"), 1),
        ((), 1),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_line(place, line):
    assert line_of(TEXT, place) == line


def test_line_ends_of_another_system():
    assert line_of(TEXT.replace("\n", "\r\n"), ("security", "rules", 2)) == 22
