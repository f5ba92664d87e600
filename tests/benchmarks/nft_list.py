"""``nft -j list set`` of a full set, to compare with: run by :class:`measure.Apart`, in namespaces of its own.

Started with the number of elements; each line asks for one list, the answer is its time in seconds. The set has the one
shape of key with addresses and a port that nft can print with counters.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def main() -> None:
    elements = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} . {n % 65_535 + 1}" for n in range(int(sys.argv[1])))
    ruleset = f"""table inet full {{
 set flows {{
  type ipv4_addr . inet_service
  counter
  elements = {{ {elements} }}
 }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, stderr=subprocess.DEVNULL)
    for _ in sys.stdin:
        begun = time.perf_counter()
        listed = subprocess.run(["nft", "-j", "list", "set", "inet", "full", "flows"], capture_output=True, check=True)
        took = time.perf_counter() - begun
        print(json.dumps({"seconds": took, "elements": listed.stdout.count(b'"concat"')}), flush=True)


if __name__ == "__main__":
    main()
