"""``nft -j list set`` of a full set, to compare with: run by :class:`measure.Apart`, in namespaces of its own.

Started with the number of elements; each line asks for one list, the answer is its time in seconds. The key is what nft
1.0.6 can print of a flow table's: it aborts where a list meets six parts, or parts given as raw payload.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def main() -> None:
    flows = (f"0x2 . 10.16.0.2 . {port} . 10.16.0.3 . 9" for port in range(1, int(sys.argv[1]) + 1))
    ruleset = f"""table inet full {{
 set flows {{
  type mark . ipv4_addr . inet_service . ipv4_addr . inet_service
  counter
  elements = {{ {", ".join(flows)} }}
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
