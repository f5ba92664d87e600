"""The books without a kernel: what was counted twice by itself balances; one count that is off is found and named."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.capture.books import UNDER_WAY, VpcBooks, Window
from emulator.fabric import marks
from emulator.fabric.accounts import Flows, Harvest
from emulator.fabric.meters import NONE, Count, Meter
from emulator.fabric.tables import FLOW

BLOCK = IPv4Network("10.16.0.0/16")
A, B, NOBODY = (IPv4Address(f"10.16.0.{last}") for last in (22, 40, 99))
PASS, REJECT_OUT, REJECT_IN = "passes", "rejected where it leaves", "rejected where it arrives"
WINDOW_S = 300


@dataclass(frozen=True)
class Sent:
    """Packets of one flow, all of one size; ``late``: they arrive behind the cut."""

    src: IPv4Address
    dst: IPv4Address
    port: int = 53
    packets: int = 1
    size: int = 60
    fate: str = PASS
    late: bool = False

    def flow(self, mark: int) -> tuple[int, ...]:
        ends = int(self.src), int(self.dst)
        return mark, 17, *ends, 1000, self.port, self.packets, self.packets * self.size, -1

    @property
    def count(self) -> Count:
        return Count(self.packets, self.packets * self.size)


@dataclass
class Eni:
    """One ENI as two countings see it: the flow tables since the last cut, the link since its birth."""

    address: IPv4Address
    flows: list[tuple[int, ...]] = field(default_factory=list)
    taken: Count = NONE
    handed: Count = NONE
    nowhere: Count = NONE

    @property
    def meter(self) -> Meter:
        return Meter(self.taken, self.handed, nowhere=self.nowhere)


class Vpc:
    """A and B under a flow log each."""

    def __init__(self) -> None:
        self.books = VpcBooks(BLOCK)
        self.enis = {"a": Eni(A), "b": Eni(B)}
        meters = [(name, (eni.address,), eni.meter, eni.meter) for name, eni in self.enis.items()]
        self.books.open(meters, 0, fresh=True)
        self._under_way: list[Sent] = []
        self.ended = 0

    def send(self, *packets: Sent) -> None:
        by_address = {eni.address: eni for eni in self.enis.values()}
        for sent in packets:
            source, target = by_address[sent.src], by_address.get(sent.dst)
            source.taken += sent.count
            source.flows.append(sent.flow(marks.REJECT | 7 if sent.fate == REJECT_OUT else 7))
            if sent.fate == REJECT_OUT:
                continue
            if target is None:
                source.nowhere += sent.count
            elif sent.late:
                self._under_way.append(sent)
            else:
                self._arrive(target, sent)

    def _arrive(self, target: Eni, sent: Sent) -> None:
        target.flows.append(sent.flow(marks.IN | 9 | (marks.REJECT if sent.fate == REJECT_IN else 0)))
        if sent.fate != REJECT_IN:
            target.handed += sent.count

    def cut(self, falsify: str = "", by: tuple[str, int] = ("packets", 0)) -> Window:
        """A window ends; one ENI's tables may be falsified. What was late arrives behind it."""
        window = self.ended * WINDOW_S, (self.ended + 1) * WINDOW_S
        harvests = {}
        for name, eni in self.enis.items():
            flows: Flows = np.array(eni.flows, FLOW)
            if name == falsify:
                flows[by[0]][0] += by[1]
            harvests[name] = Harvest(flows, 0, before=eni.meter, after=eni.meter), window
            eni.flows = []
        self.books.cut(harvests, 0, 0)
        late, self._under_way = self._under_way, []
        for sent in late:
            self._arrive(self.enis["a" if sent.dst == A else "b"], sent)
        self.ended += 1
        return window

    @property
    def found(self) -> list[tuple[Window | None, str]]:
        return [line for eni in self.books.all for line in eni.failures(0, 0)] + list(self.books.between())


PACKETS = st.builds(
    Sent,
    src=st.just(A),
    dst=st.sampled_from([B, NOBODY]),
    port=st.sampled_from([53, 80]),
    packets=st.integers(1, 5),
    size=st.integers(28, 1500),
    fate=st.sampled_from([PASS, REJECT_OUT, REJECT_IN]),
    late=st.booleans(),
) | st.builds(Sent, src=st.just(B), dst=st.just(A), packets=st.integers(1, 5), late=st.booleans())


@given(windows=st.lists(st.lists(PACKETS, max_size=6), max_size=6))
def test_law_whatever_passes_balances_once_it_has_arrived(windows: list[list[Sent]]) -> None:
    vpc = Vpc()
    for packets in windows:
        vpc.send(*packets)
        vpc.cut()
    vpc.cut()

    assert vpc.found == []
    assert vpc.books.flows == sum(
        1 + (sent.fate != REJECT_OUT and sent.dst != NOBODY) for packets in windows for sent in packets
    )


@given(
    windows=st.lists(st.lists(PACKETS, max_size=4), max_size=3),
    eni=st.sampled_from(["a", "b"]),
    by=st.tuples(st.just("packets"), st.sampled_from([-1, 1])) | st.tuples(st.just("bytes"), st.sampled_from([-1, 1])),
)
def test_law_one_count_that_is_off_is_found_in_its_window_and_stays(
    windows: list[list[Sent]], eni: str, by: tuple[str, int]
) -> None:
    vpc = Vpc()
    for packets in windows:
        vpc.send(*packets)
        vpc.cut()
    vpc.cut()
    vpc.send(Sent(A, B), Sent(B, A))
    window = vpc.cut(eni, by)
    assert vpc.found
    vpc.send(Sent(A, B))
    vpc.cut()
    vpc.cut()

    assert {since for since, _ in vpc.found} == {window}


@pytest.mark.parametrize(
    ("eni", "by", "said"),
    [
        pytest.param(
            "a", ("packets", 1), "10.16.0.22:1000 -> 10.16.0.40:53 protocol 17: 1 packets", id="too many left"
        ),
        pytest.param("b", ("packets", 1), "1 packets, 0 bytes counted at b that a did not send", id="too many came"),
        pytest.param("a", ("bytes", 5), "0 packets, 5 bytes accepted at a and not counted at b", id="bytes alone"),
        pytest.param("a", ("dport", 27), "10.16.0.22:1000 -> 10.16.0.40:80 protocol 17", id="another port"),
        pytest.param("a", ("mark", marks.REJECT), "counted at b that a did not send", id="another verdict"),
    ],
)
def test_the_flow_and_both_ends_are_named(eni: str, by: tuple[str, int], said: str) -> None:
    vpc = Vpc()
    vpc.send(Sent(A, B))
    window = vpc.cut(eni, by)

    assert any(since == window and said in line for since, line in vpc.books.between())


def test_what_is_lost_in_a_full_connection_table_is_no_error() -> None:
    vpc = Vpc()
    vpc.enis["a"].taken += Count(3, 180)
    vpc.cut()

    assert [books.failures(3, 0) for books in vpc.books.all] == [[], []]
    assert "its link took in 3 packets, 180 bytes; counted were 0" in vpc.books.enis["a"].failures(2, 0)[0][1]


def test_while_packets_pass_as_many_as_fit_into_the_backlog_may_differ() -> None:
    for missing, wrong in ((UNDER_WAY, False), (UNDER_WAY + 1, True)):
        books = VpcBooks(BLOCK)
        books.open([("a", (A,), Meter(), Meter())], 0, fresh=True)
        before, after = Meter(Count(missing, 60 * missing)), Meter(Count(missing + 1, 60 * missing + 60))
        empty: Flows = np.empty(0, FLOW)
        books.cut({"a": (Harvest(empty, 0, before=before, after=before), (0, 300))}, 0, 0)
        assert books.enis["a"].failures(0, 0), "at rest nothing may differ"
        flows: Flows = np.array([Sent(A, NOBODY).flow(7)], FLOW)
        books.cut({"a": (Harvest(flows, 0, before=before, after=after), (0, 300))}, 0, 0)
        assert bool(books.enis["a"].failures(0, 0)) is wrong


@pytest.mark.parametrize("unplugged", [True, False])
def test_an_eni_that_is_counted_no_more_leaves_its_books(unplugged: bool) -> None:
    vpc = Vpc()
    vpc.send(Sent(A, B, packets=4), Sent(B, A))
    vpc.cut()
    vpc.books.close(["b"], unplugged=unplugged)

    gone = [books for books in vpc.books.all if books.eni_id == "b"]
    assert [books.accepted_in for books in gone] == [Count(4, 240)]
    assert vpc.found == []
