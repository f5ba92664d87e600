"""What a scenario is, and the story that it tells while it runs.

A scenario builds its lab with the public names of ``emulator`` and narrates through a :class:`Story`: steps, commands
with their output, rules, searches, facts that are checked. The story keeps all of it as plain data and passes it on
to a :class:`Teller`, the terminal or nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from scenarios.mistakes import mistake_in

if TYPE_CHECKING:
    from emulator import Lab
    from emulator.logs.records import Record, Records
    from emulator.logs.topic import Topic
    from emulator.resources import NetworkAcl, SecurityGroup
    from emulator.suites.passing import Passing

START_S = 1_704_067_200
"""Lab time at the start of every story: 2024-01-01 00:00 UTC, where a capture window of any length begins."""

LEARNT = "What was learnt"
"""The last step of every story."""

BOTH_CLOUDS = ("tencent", "alibaba")
EVERY_PROFILE = ("tencent", "tencent-2020", "alibaba", "alibaba-2019")
LOGS_ON_VPCS = ("tencent", "alibaba", "alibaba-2019")
"""``tencent-2020`` logs ENIs only."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """``profiles``: the clouds that have what it needs, the usual one first."""

    name: str
    title: str
    run: Callable[[Story, Lab], None]
    profiles: tuple[str, ...] = EVERY_PROFILE

    @property
    def situation(self) -> str:
        """What its module says: the situation, a drawing, what to look at."""
        import sys
        from inspect import cleandoc

        return cleandoc(sys.modules[self.run.__module__].__doc__ or "").replace("\n::\n", "")


class Teller(Protocol):
    """Who listens to a story while it happens."""

    def step(self, number: int, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def command(self, prompt: str, output: str) -> None: ...

    def rules(self, owner: str, rules: Sequence[str]) -> None: ...

    def records(self, question: str, records: Sequence[Record], reasons: Sequence[str]) -> None: ...

    def table(self, title: str, rows: Sequence[Json]) -> None: ...

    def packets(self, flows: Sequence[Json], lost: int) -> None: ...

    def fact(self, text: str) -> None: ...


@dataclass
class Outcome:
    """How a scenario went; ``failure`` is None where every fact held."""

    scenario: Scenario
    profile: str
    steps: list[Json]
    failure: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        return self.failure is None

    def to_json(self) -> Json:
        """All of it as plain data; ``records`` are those that its searches found, each once, ``lines`` the same."""
        events = [event for step in self.steps for event in step["events"] if event["kind"] == "records"]
        found = {line: one for event in events for line, one in zip(event["lines"], event["records"], strict=True)}
        return {
            "name": self.scenario.name,
            "title": self.scenario.title,
            "profile": self.profile,
            "passed": self.passed,
            "failure": self.failure,
            "seconds": round(self.seconds, 3),
            "records": list(found.values()),
            "lines": list(found),
            "steps": self.steps,
        }


@dataclass
class Story:
    """The story of one run in one lab. A fact that does not hold raises AssertionError with what was found instead."""

    lab: Lab
    teller: Teller | None = None
    steps: list[Json] = field(default_factory=list)
    passing: Passing | None = None
    """Who listens to the packets, where each step is to show its own."""

    def step(self, text: str) -> None:
        """What happens next, in one sentence."""
        self.show_packets()
        self.steps.append({"step": len(self.steps) + 1, "text": text, "events": []})
        if self.teller:
            self.teller.step(len(self.steps), text)

    def later(self, text: str) -> int:
        """A step: time passes until the records of what happened so far can be found. Lab time before it, in unix
        seconds: a search from there on finds these and none of earlier windows."""
        now, wait_s = self.lab.clock.now, self.lab.profile.window_s + self.lab.profile.delay_s
        self.step(f"{wait_s // 60} minutes later: {text}")
        self.lab.clock.advance(seconds=wait_s)
        return int(now)

    def show_packets(self) -> None:
        """What passed in the step that ends, by flow, where somebody listens."""
        if self.passing is None:
            return
        flows, lost = self.passing.take()
        if flows or lost:
            self._event("packets", flows=flows, lost=lost)
            if self.teller:
                self.teller.packets(flows, lost)

    def note(self, text: str) -> None:
        """Something to look at."""
        self._event("note", text=text)
        if self.teller:
            self.teller.note(text)

    def command(self, prompt: str, output: str) -> None:
        """A command that was run in a CVM, and what it printed."""
        self._event("command", command=prompt, output=output)
        if self.teller:
            self.teller.command(prompt, output)

    def rules(self, owner: SecurityGroup | NetworkAcl) -> None:
        """Show the rules of a security group or network ACL, in the order in which they are judged."""
        name = f"{'network ACL' if type(owner).__name__ == 'NetworkAcl' else 'security group'} {owner.name}"
        rules = [str(rule) for rule in owner.rules]
        self._event("rules", owner=name, rules=rules)
        if self.teller:
            self.teller.rules(name, rules)

    def search(self, topic: Topic, query: str, **options: Any) -> Records:
        """Search, and show what was found with the rule behind each record, or the table that SQL computed."""
        found = topic.search(query, **options)
        question = f"{topic.name}: {query}"
        if "|" in query:
            self.table(f"search {question}", [dict(row) for row in found])
            return found
        reasons = [str(self.lab.explain(record)) for record in found]
        self._event(
            "records",
            question=question,
            records=[dict(record) for record in found],
            lines=[record.line for record in found],
            reasons=reasons,
        )
        if self.teller:
            self.teller.records(question, found, reasons)
        return found

    def table(self, title: str, rows: Sequence[Json]) -> None:
        """Rows with the same fields, to be read one below the other."""
        self._event("table", title=title, rows=list(rows))
        if self.teller:
            self.teller.table(title, rows)

    def learnt(self, *lessons: str) -> None:
        """The last step: what to take home, a sentence each."""
        self.step(LEARNT)
        for lesson in lessons:
            self.note(lesson)

    def check(self, fact: str, found: object, wanted: object) -> None:
        """A fact of the story: ``found`` equals ``wanted``."""
        if found != wanted:
            raise AssertionError(f"{fact}: wanted {wanted!r}, found {found!r}")
        self._fact(fact)

    def expect(self, records: Sequence[Record], *wanted: Mapping[str, Any]) -> None:
        """These records and no others were found, in any order; a field that is not named may have any value."""
        from emulator.asserting import explain_set

        failure = explain_set(records, wanted, lambda record: str(self.lab.explain(record)), self._stored, partial=True)
        if failure is not None:
            raise AssertionError(str(failure))
        some = "exactly this record" if len(wanted) == 1 else f"exactly these {len(wanted)} records"
        self._fact(some if wanted else "no record")

    def _fact(self, text: str) -> None:
        self._event("fact", text=text)
        if self.teller:
            self.teller.fact(text)

    def _event(self, kind: str, **content: Any) -> None:
        if not self.steps:
            self.step("Before the first step")
        self.steps[-1]["events"].append({"kind": kind, **content})

    def _stored(self) -> Iterable[tuple[str, Record]]:
        return [(topic.name, record) for topic in self.lab.logs.topics() for record in topic.search("*")]


def tell(
    scenario: Scenario, profile: str | None = None, teller: Teller | None = None, *, packets: bool = False
) -> Outcome:
    """Run a scenario in a lab of its own, by default under the first profile that it supports; ``packets``: each step
    shows what passed in it.

    A fact that does not hold, books that do not balance (``lab.audit()``) or a mistake in the story's own code are the
    outcome's ``failure``; what keeps the lab from working is raised.
    """
    from emulator import Lab, VpclabError
    from emulator.suites.passing import listening

    profile = profile or scenario.profiles[0]
    began = time.perf_counter()
    failure: str | None = None
    with listening() if packets else nullcontext() as passing, Lab(profile=profile, start=START_S) as lab:
        story = Story(lab, teller, passing=passing)
        try:
            scenario.run(story, lab)
            story.show_packets()
        except AssertionError as error:
            failure = str(error) or "a fact of the story does not hold"
        except VpclabError:
            raise
        except Exception as error:
            failure = mistake_in(scenario.run.__code__.co_filename, error)
        else:
            audit = lab.audit()
            failure = None if audit.ok else audit.text
    return Outcome(scenario, profile, story.steps, failure, time.perf_counter() - began)
