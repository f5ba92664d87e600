"""Stock Mininet, to compare with: run by :class:`measure.Apart`, in namespaces of its own.

Each line is a number of hosts. They hang on one LinuxBridge, without a controller; the answer is what start, a ping
from the first to the last and stop took, in seconds. Nothing is left out but Mininet.init(), which writes sysctls of
the machine: that makes stock Mininet a little faster than it is.
"""

from __future__ import annotations

import json
import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


def main() -> None:
    setLogLevel("critical")
    Mininet.inited = True
    for line in sys.stdin:
        begun = time.perf_counter()
        net = Mininet(switch=LinuxBridge, controller=None)
        switch = net.addSwitch("s1")
        for number in range(int(line)):
            net.addLink(net.addHost(f"h{number}"), switch)
        net.start()
        ready = time.perf_counter()
        answer = net.hosts[0].cmd(f"ping -c1 -W5 {net.hosts[-1].IP()}")
        pinged = time.perf_counter()
        net.stop()
        times = {"start": ready - begun, "ping": pinged - ready, "stop": time.perf_counter() - pinged}
        print(json.dumps({**times, "answered": "1 received" in answer}), flush=True)


if __name__ == "__main__":
    main()
