"""A lab's whole life that always leaves the same records; also a program that tells it once the starter says so."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable

from emulator.fabric.client import keeper
from emulator.lab import Lab
from emulator.pytest_plugin import START_S

DATAGRAMS = 40


def story(meet: Callable[[], object] = lambda: None) -> list[str]:
    """The record lines of a VPC in which A sent B some datagrams. ``meet`` is called when the lab stands."""
    with Lab(start=START_S) as lab:
        vpc = lab.create_vpc("10.16.0.0/16")
        subnet = vpc.create_subnet("10.16.0.0/24")
        a, b = (subnet.run_instance(name) for name in "AB")
        topic = lab.logs.create_topic("all")
        vpc.create_flow_log("all", topic=topic)
        meet()
        with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth, b.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            mouth.bind((a.ip, 4000))
            ear.bind((b.ip, 5000))
            for number in range(DATAGRAMS):
                mouth.sendto(bytes(number), (b.ip, 5000))
            ear.settimeout(10)
            heard = [len(ear.recv(100)) for _ in range(DATAGRAMS)]
        lab.clock.advance(minutes=15)
        assert heard == list(range(DATAGRAMS))
        return sorted(topic.search("protocol:17").lines)


def main() -> None:
    def meet() -> None:
        print(json.dumps(keeper().pid), flush=True)
        sys.stdin.readline()

    print(json.dumps(story(meet)), flush=True)


if __name__ == "__main__":
    main()
