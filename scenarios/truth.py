"""Ground truth: which packets are bad, said by whoever sent them, and how good a query is by it.

An attack's scenario watches a CVM for each capture window that the provider offers, sends the same packets to all of
them, and lets the same query look for the bad ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator import Lab
    from emulator.logs.topic import Topic
    from emulator.resources import Cvm, Eip, Subnet
    from emulator.traffic.outcome import Exchange, Tally
    from scenarios.story import Json, Story

Suspect = tuple[Any, ...]
"""What a query accuses: the values of the fields that a :class:`Truth` is about."""


@dataclass(frozen=True)
class Score:
    """In packets: bad ones that were ``found`` and ``missed``, and good ones that were flagged, ``false_alarms``."""

    found: int
    missed: int
    false_alarms: int

    @property
    def precision(self) -> float | None:
        """Of what was flagged, the part that is bad; None where nothing was flagged."""
        flagged = self.found + self.false_alarms
        return self.found / flagged if flagged else None

    @property
    def recall(self) -> float:
        """Of what is bad, the part that was flagged."""
        return self.found / (self.found + self.missed)


def tallies(exchange: Exchange) -> tuple[Tally, Tally]:
    """What was sent and received, of an exchange of which both are known."""
    if exchange.sent is None or exchange.received is None:
        raise AssertionError(f"how many packets that was is not known: it was {exchange.outcome}")
    return exchange.sent, exchange.received


class Truth:
    """Who sent how many packets, bad and good; a suspect is told by its values of ``fields``."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self._bad: Counter[Suspect] = Counter()
        self._good: Counter[Suspect] = Counter()

    def bad(self, sent: int | Exchange, *suspect: Any) -> None:
        """So many packets, or those of an exchange."""
        self._bad[suspect] += sent if isinstance(sent, int) else tallies(sent)[0].packets

    def good(self, sent: int | Exchange, *suspect: Any) -> None:
        self._good[suspect] += sent if isinstance(sent, int) else tallies(sent)[0].packets

    @property
    def packets(self) -> dict[Suspect, int]:
        """All packets of each suspect."""
        return dict(self._bad + self._good)

    def recorded(self, topic: Topic) -> dict[Suspect, int]:
        """The same as the records of a topic tell it."""
        names = ", ".join(f'"{name}"' for name in self.fields)
        rows = topic.search(f"log-status:OK | SELECT {names}, sum(packets) AS packets GROUP BY {names}")
        told = {self._suspect(row): row["packets"] for row in rows}
        return {suspect: told.get(suspect, 0) for suspect in self.packets}

    def score(self, flagged: Iterable[Mapping[str, Any]]) -> Score:
        """How good it was to flag these; each may be flagged several times."""
        accused = {self._suspect(row) for row in flagged}
        strangers = accused - self.packets.keys()
        if strangers:
            raise AssertionError(f"flagged, but they sent nothing: {sorted(strangers)}")
        found = sum(self._bad[one] for one in accused)
        return Score(found, self._bad.total() - found, sum(self._good[one] for one in accused))

    def _suspect(self, row: Mapping[str, Any]) -> Suspect:
        return tuple(row[name] for name in self.fields)


@dataclass(frozen=True)
class Watched:
    """A CVM with a public address whose ENI is recorded in windows of ``window_s``, and what is true of the packets."""

    window_s: int
    cvm: Cvm
    eip: Eip
    topic: Topic
    truth: Truth = field(repr=False)


def watch(lab: Lab, subnet: Subnet, *fields: str, **options: Any) -> list[Watched]:
    """A CVM, flow log and topic for each capture window that the provider offers, the shortest first; ``options`` as
    for ``run_instance``."""
    watched = []
    for window_s in sorted(lab.profile.windows_s):
        cvm = subnet.run_instance(f"watched-{window_s}", **options)
        eip = lab.allocate_address()
        eip.associate(cvm)
        topic = lab.logs.create_topic(f"windows-of-{window_s}", logset="demo")
        cvm.eni.create_flow_log(topic.name, topic=topic, interval_s=window_s)
        watched.append(Watched(window_s, cvm, eip, topic, Truth(*fields)))
    return watched


def judge(story: Story, watched: Iterable[Watched], query: str) -> dict[int, Score]:
    """Ask the same of every topic, show how good the answers are, and return that by window."""
    scores = {one.window_s: one.truth.score(one.topic.search(query)) for one in watched}
    rows: list[Json] = [
        {
            "window": f"{window_s} s",
            "bad found": score.found,
            "bad missed": score.missed,
            "false alarms": score.false_alarms,
            "precision": None if score.precision is None else f"{score.precision:.2f}",
            "recall": f"{score.recall:.2f}",
        }
        for window_s, score in scores.items()
    ]
    story.table(f"search {query}", rows)
    return scores


def check_recorded(story: Story, watched: Iterable[Watched]) -> None:
    """The records of every window length hold all the packets that were sent."""
    for one in watched:
        fact = f"records of {one.window_s} s hold every packet that was sent"
        story.check(fact, one.truth.recorded(one.topic), one.truth.packets)


def hidden_in(story: Story, which: str, windows_s: Iterable[int]) -> None:
    """Say in ``which`` windows an attack is invisible, and that it was in these."""
    told = " and ".join(f"{window_s} s" for window_s in windows_s)
    story.note(f"it is invisible in windows {which}: {f'those of {told}' if told else 'none that is on offer here'}")
