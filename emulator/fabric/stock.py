"""What a lab takes of stock Mininet, imported without distutils.

``mininet.node`` imports one class of distutils, to compare versions of Open vSwitch. Since Python 3.12 distutils is a
part of setuptools, whose import takes longer than all of Mininet's; so it is put off until somebody compares.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def _strict_version(text: str) -> Any:
    from distutils.version import StrictVersion  # type: ignore[import-not-found,unused-ignore]

    return StrictVersion(text)


def _import_node() -> None:
    """Import ``mininet.node`` with a distutils that puts the real one off."""
    if "distutils" in sys.modules or "mininet.node" in sys.modules:
        return
    package, version = ModuleType("distutils"), ModuleType("distutils.version")
    version.StrictVersion = _strict_version  # type: ignore[attr-defined]
    stand_ins = {"distutils": package, "distutils.version": version}
    sys.modules.update(stand_ins)
    try:
        import mininet.node  # noqa: F401
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


_import_node()

from mininet.link import Intf, Link  # noqa: E402
from mininet.log import error  # noqa: E402
from mininet.net import Mininet  # noqa: E402
from mininet.node import Host, Node  # noqa: E402
from mininet.util import getincrementaldecoder  # noqa: E402

__all__ = ["Host", "Intf", "Link", "Mininet", "Node", "error", "getincrementaldecoder"]
