"""The proof can fail: whichever of reference, record, capture and wire says something else, the comparison tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from ground import Ground

from emulator.cloud import verdict
from emulator.cloud.verdict import Packet

pytestmark = pytest.mark.kernel

A, B, C = (IPv4Address(f"10.16.0.{last}") for last in (22, 40, 41))


@pytest.fixture
def here(ground: Callable[..., Ground]) -> Ground:
    """A may send TCP to B's port 53 and nothing else."""
    here = ground()
    group = here.vpc.create_security_group("a")
    group.allow("egress", protocol="tcp", port=53)
    subnet = here.vpc.create_subnet("10.16.0.0/24")
    subnet.run_instance("A", private_ip=A, security_groups=[group])
    subnet.run_instance("B", private_ip=B)
    here.record(here.vpc)
    here.volley([Packet(A, B, 6, 1000, 53), Packet(A, B, 6, 1000, 54), Packet(B, A, 6, 2000, 80)])
    here.compare()
    return here


def test_a_packet_that_nobody_asked_for(here: Ground) -> None:
    here._send(Packet(A, B, 6, 1001, 53))
    with pytest.raises(AssertionError, match=r"(?s)2 of 0 flows differ.*the reference: None.*the record: Told"):
        here.compare()


def test_a_packet_that_was_never_sent(here: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "_send", lambda packet: 40)
    here.volley([Packet(A, B, 6, 1001, 54)])
    with pytest.raises(AssertionError, match=r"(?s)1 of 1 flows differ.*'REJECT', 6.*the record: None"):
        here.compare()


def test_a_reference_that_is_wrong(here: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rules are named: the one that the reference takes for the first, and the kernel's."""
    within = verdict._within
    monkeypatch.setattr(verdict, "_within", lambda port, ports: port == 54 or within(port, ports))
    here.volley([Packet(A, B, 6, 1001, 54)])
    with pytest.raises(AssertionError, match=r"(?s)allow egress tcp port 53 to anywhere.*deny egress all to anywhere"):
        here.compare()


@pytest.mark.parametrize("column", ["packets", "bytes"])
def test_a_record_that_is_one_too_many(here: Ground, monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    found = here._found
    here.volley([Packet(A, B, 6, 1001, 54)])

    def falsified() -> dict[Any, Any]:
        return {key: replace(told, **{column: getattr(told, column) + 1}) for key, told in found().items()}

    monkeypatch.setattr(here, "_found", falsified)
    with pytest.raises(AssertionError, match="1 of 1 flows differ"):
        here.compare()


def test_a_capture_that_lacks_a_packet(here: Ground, need_program: Callable[[str, str], str], tmp_path: Path) -> None:
    need_program("nfpcapd", "nfdump")
    path = tmp_path / "a.pcap"
    a = next(eni for eni in here.enis if eni.address == A)
    with here.captured(a, path):
        here.volley([Packet(A, B, 6, 1000 + number, 54) for number in range(5)])
    path.write_bytes(path.read_bytes()[: -(16 + 14 + 40)])
    with pytest.raises(AssertionError, match=r"nfpcapd at .* counts otherwise than the records"):
        here.compare()


def test_a_loss_excuses_no_more_than_what_was_lost(here: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    here.volley([Packet(A, B, 6, 1001, 54), Packet(A, B, 6, 1002, 54)])
    monkeypatch.setattr(here, "_lost", lambda: 1)
    with pytest.raises(AssertionError, match=r"links lost 1 packets: \{\}"):
        here.compare()
