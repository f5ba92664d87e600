"""The command ``vpclab``: a demo, the scenarios, what this machine lacks for a lab.

Exit codes: 0 all is well, 1 something failed, 2 the command was wrong, 130 Ctrl-C. What goes wrong is said on
standard error, as a message with the way out.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from emulator.commands.importing import import_capture
from emulator.commands.schema import schema
from emulator.commands.shell import shell
from emulator.entry import INTERRUPTED
from emulator.errors import VpclabError

if TYPE_CHECKING:
    from emulator.doctor import Probe
    from scenarios import Outcome, Scenario

FAILED, USAGE = 1, 2

_OPTIONS: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
app = typer.Typer(
    help="A cloud on one Linux machine, for everything that lives on VPC Flow Logs.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    **_OPTIONS,
)
scenario_app = typer.Typer(help="Stories that run on real packets and end in records.", **_OPTIONS)
app.add_typer(scenario_app, name="scenario")
app.command()(shell)
app.command()(schema)
app.command("import")(import_capture)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
InProfile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="The cloud: tencent, tencent-2020, alibaba, alibaba-2019."),
]


def main() -> None:
    """The entry point: nothing that vpclab raises on purpose ends in a traceback."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # a terminal may be unable to show a character
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        warnings.showwarning = lambda message, *_: print(f"vpclab: {message}", file=sys.stderr)
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # a reader that has gone is noticed here, not when Python ends
    except VpclabError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _let_go_of_output()  # the reader has gone
        sys.exit(FAILED)
    except OSError as wrong:
        _let_go_of_output()
        _fail(str(wrong))


def _let_go_of_output() -> None:
    """Nothing is written any more: Python would complain when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"vpclab {version('vpclab')}")
        except PackageNotFoundError:
            print("vpclab (not installed)")
        raise typer.Exit


@app.callback()
def vpclab(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(profile: InProfile = None, as_json: AsJson = False) -> None:
    """The ping of the documentation, told as a story.

    CVM A pings CVM B nine times, and the flow log of A's ENI tells.
    """
    outcomes = _run(["ping"], profile, step=False, as_json=as_json)
    if as_json:
        _print_json(outcomes[0].to_json())
    _judge(outcomes)


@scenario_app.command("list")
def list_scenarios(as_json: AsJson = False) -> None:
    """Name and title of every scenario, by group, and the clouds that it runs under."""
    from scenarios import GROUPS

    rows = [
        {"name": one.name, "group": group, "title": one.title, "profiles": list(one.profiles)}
        for group, scenarios in GROUPS.items()
        for one in scenarios
    ]
    if as_json:
        _print_json(rows)
        return
    from emulator.screen import Screen

    with Screen() as screen:
        screen.contents(rows)


@scenario_app.command("run")
def run_scenarios(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Of `vpclab scenario list`, or your own FILE.py.")],
    profile: InProfile = None,
    step: Annotated[bool, typer.Option("--step", help="Wait for a key between steps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run scenarios, each in a lab of its own.

    Without --profile each runs under the first cloud that it supports.
    """
    if step and as_json:
        _refuse("--step and --json exclude each other: one is for people, the other for programs")
    outcomes = _run(names, profile, step=step, as_json=as_json)
    if as_json:
        _print_json([outcome.to_json() for outcome in outcomes])
    _judge(outcomes)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Probe what a lab needs of this machine.

    One line for each thing, with the way out where it is missing.
    """
    from emulator.doctor import probes

    if as_json:
        found = probes()
        _print_json([{"name": one.name, "ok": one.ok, "found": one.found, "way_out": one.way_out} for one in found])
    else:
        found = _show_probes()
    if not all(probe.ok for probe in found):
        raise typer.Exit(FAILED)


@app.command()
def dashboard(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A preset, one of your own, or a TOML file.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The data folder; a lab may be writing to it.")],
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="NAME", help="Needed where there are several.")
    ] = None,
    logset: Annotated[str | None, typer.Option("--logset", metavar="NAME")] = None,
    start: Annotated[float | None, typer.Option("--start", help="Unix seconds, included.")] = None,
    end: Annotated[float | None, typer.Option("--end", help="Unix seconds, excluded.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it there instead.")] = None,
) -> None:
    """Draw a dashboard over a topic.

    Presets: tencent-eni, tencent-ccn, alibaba-overview, alibaba-traffic, alibaba-rejection.
    """
    from emulator.boards import answered

    board, answers = answered(name, data, topic, logset, start, end)
    if html is not None:
        from emulator.logs.page import page

        try:
            html.write_text(page(board, answers), encoding="utf-8")
        except OSError as wrong:
            _fail(f"{html} could not be written: {wrong.strerror}")
        return
    from rich.console import Console

    from emulator.logs.drawing import draw

    draw(board, answers, Console())


# how -------------------------------------------------------------------------------------------------


def _run(names: Sequence[str], profile: str | None, *, step: bool, as_json: bool) -> list[Outcome]:
    """Run scenarios one after the other, in silence for JSON; a wrong name is refused before the first begins."""
    from scenarios import tell

    chosen = [_scenario(name) for name in names]
    if profile is not None:
        _check_profile(profile, chosen)
    return [tell(scenario, profile) for scenario in chosen] if as_json else _tell_all(chosen, profile, step)


def _judge(outcomes: Iterable[Outcome]) -> None:
    """Say what failed on standard error, and end so."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        last = outcome.steps[-1] if outcome.steps else {"step": 0, "text": "before its first step"}
        print(f"{outcome.scenario.name} failed in step {last['step']}: {last['text']}", file=sys.stderr)
        print(outcome.failure, file=sys.stderr)
    if failed:
        raise typer.Exit(FAILED)


def _tell_all(chosen: Iterable[Scenario], profile: str | None, step: bool) -> list[Outcome]:
    from emulator.screen import Screen
    from emulator.stage import Stage
    from scenarios import tell

    outcomes = []
    with Stage() if step else Screen() as screen:
        for scenario in chosen:
            screen.title(f"{scenario.name}, under {profile or scenario.profiles[0]}", scenario.situation)
            outcome = tell(scenario, profile, screen, packets=step)
            outcomes.append(outcome)
            screen.say("")
            ended = f"every fact held, {outcome.seconds:.1f} s" if outcome.passed else "failed"
            screen.say(f"{scenario.name}: {ended}")
            screen.say("")
    return outcomes


def _show_probes() -> list[Probe]:
    from emulator.doctor import probes
    from emulator.screen import Screen

    with Screen() as screen:
        screen.busy("probing this machine")
        found = probes()
        width = max(len(probe.name) for probe in found)
        for probe in found:
            screen.say(f"{'ok' if probe.ok else 'MISSING':7}  {probe.name:{width}}  {probe.found}", whole=True)
            if probe.way_out and not probe.ok:
                screen.say(f"-> {probe.way_out}", indent=width + 11, whole=True)
        lacking = sum(not probe.ok for probe in found)
        screen.say("")
        screen.say("labs can run here" if not lacking else "labs cannot run here", whole=True)
    return found


def _scenario(name: str) -> Scenario:
    from emulator.cloud.names import nearest
    from scenarios import SCENARIOS
    from scenarios.own import scenario_in

    if name.endswith(".py"):
        try:
            return scenario_in(Path(name))
        except ValueError as error:
            _refuse(str(error))
    if name not in SCENARIOS:
        _refuse(f"there is no scenario {name!r}; {nearest(name, SCENARIOS)}")
    return SCENARIOS[name]


def _check_profile(profile: str, chosen: Iterable[Scenario]) -> None:
    from emulator.cloud.names import nearest
    from emulator.providers import PROFILES

    if profile not in PROFILES:
        _refuse(f"there is no profile {profile!r}; {nearest(profile, PROFILES)}")
    for scenario in chosen:
        if profile not in scenario.profiles:
            there = ", ".join(scenario.profiles)
            _refuse(f"scenario {scenario.name} needs what {profile} does not have; it runs under {there}")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _fail(message: str) -> NoReturn:
    print(f"vpclab: {message}", file=sys.stderr)
    sys.exit(FAILED)


def _refuse(message: str) -> NoReturn:
    """The command was wrong."""
    print(f"vpclab: {message}", file=sys.stderr)
    raise typer.Exit(USAGE)


if __name__ == "__main__":
    main()
