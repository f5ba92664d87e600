"""Dashboards: every panel of every preset, users' own, drawn in a terminal and as a page."""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from emulator.cli import app
from emulator.errors import LabError, RequirementMissing
from emulator.logs import LogService, Topic, flow_index
from emulator.logs.curves import curves, runs, short, shown
from emulator.logs.dashboard import Answer, Dashboard, Panel, ask, dashboard, presets, read_dashboard
from emulator.logs.drawing import draw
from emulator.logs.page import page
from emulator.logs.records import computed_records
from emulator.providers import profile
from tests.children import REPOSITORY
from tests.commands import COMMAND, environment, vpclab

# pygal's import hook is of the old kind, which Python mentions when plotext is imported after it.
pytestmark = pytest.mark.filterwarnings("ignore:PluginImportFixer:ImportWarning")

START = 1_700_000_100
ROWS = [
    {
        "interface-id": "eni-a",
        "srcregionid": "ap-guangzhou",
        "dstregionid": "ap-hongkong",
        "srcaddr": f"10.0.0.{at % 3}",
        "dstaddr": "10.0.1.1",
        "protocol": (6, 17, 1)[at % 3],
        "srcport": 40_000,
        "dstport": (443, 53, 0)[at % 3],
        "packets": 10 + at,
        "bytes": 1_000 * (at + 1),
        "start": START + 300 * (at // 3),
        "end": START + 300 * (at // 3) + 300,
        "action": "REJECT" if at % 5 == 0 else "ACCEPT",
        "log-status": "OK",
        "__time__": START + 300 * (at // 3) + 300,
    }
    for at in range(12)
]


def filled(service: LogService, name: str = "flows") -> Topic:
    table = pa.Table.from_pylist(ROWS)
    topic = service.create_topic(name, logset="demo")
    topic.enable_index(flow_index(table.schema), report=True)
    topic.append(table, key="w")
    return topic


@pytest.mark.parametrize("board", presets(), ids=lambda board: board.name)
def test_every_panel_of_the_presets_shows_something(board: Dashboard) -> None:
    with LogService(profile=profile(board.provider), now=lambda: START + 3_600.0) as service:
        answers = ask(board, filled(service))
    assert [answer.refused for answer in answers] == [""] * len(board.panels)
    assert all(answer.records for answer in answers)
    for answer in answers:
        labels, found = curves(answer.records, answer.panel.series)  # type: ignore[arg-type]
        if answer.panel.chart in ("line", "bar", "pie"):
            assert labels
            assert any(value is not None for values in found.values() for value in values), answer.panel.title
    console = Console(file=io.StringIO(), width=100)
    draw(board, answers, console)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    written = page(board, answers)
    for answer in answers:
        assert answer.panel.title in drawn
        assert f"<h2>{answer.panel.title}" in written
    assert "\x1b" not in drawn


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (REPOSITORY / "docs" / "logs.md").read_text(), re.DOTALL)
    (tmp_path / "who.toml").write_text(blocks[0])
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        refused, share = ask(dashboard("who", tmp_path), filled(service))
    assert (refused.refused, len(refused.records or [])) == ("", 3)
    assert share.records == [{"share": 25.0}]


def test_what_the_panels_of_the_eni_dashboard_say(tmp_path: Path) -> None:
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        answers = {answer.panel.title: answer for answer in ask(dashboard("tencent-eni", tmp_path), filled(service))}
    assert answers["Share of REJECT"].records == [{"share": 25.0}]
    assert answers["Top talkers"].records == [
        {"srcaddr": "10.0.0.2", "bytes": 30_000},
        {"srcaddr": "10.0.0.1", "bytes": 26_000},
        {"srcaddr": "10.0.0.0", "bytes": 22_000},
    ]
    labels, found = curves(answers["Traffic"].records, "action")  # type: ignore[arg-type]
    assert len(labels) == 4
    assert found["REJECT"] == [1_000 * 8 / 300, 6_000 * 8 / 300, None, 11_000 * 8 / 300]
    assert answers["Who is rejected by what"].records[0]["srcaddr"] == "10.0.0.1"  # type: ignore[index]


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("board", presets(), ids=lambda board: board.name)
def test_nothing_is_cut_at_any_width(
    answered: dict[str, list[Answer]], board: Dashboard, width: int, terminal: bool
) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False)
    draw(board, answered[board.name], console)
    drawn = re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())  # type: ignore[attr-defined]
    lines = drawn.splitlines()
    assert "…" not in drawn
    assert not terminal or max(map(len, lines)) <= width
    rows = [
        record for answer in answered[board.name] if answer.panel.chart == "table" for record in answer.records or []
    ]
    whole = [line for line in lines if all(shown(value) in line for value in rows[0].values())] if rows else [""]
    assert whole or terminal  # what a program reads has a row in a line
    words = "".join(drawn.split())
    for answer in answered[board.name]:
        labels, found = curves(answer.records or [], answer.panel.series)
        told = {"line": found, "bar": [short(value or 0) for curve in found.values() for value in curve], "pie": labels}
        assert all("".join(one.split()) in words for one in told.get(answer.panel.chart, [])), answer.panel.title


@pytest.fixture(scope="module")
def answered() -> dict[str, list[Answer]]:
    found = {}
    for board in presets():
        with LogService(profile=profile(board.provider), now=lambda: START + 3_600.0) as service:
            found[board.name] = ask(board, filled(service))
    return found


def minutes(*after: int) -> list[str]:
    return [f"2024-01-01 08:{minute:02}:00" for minute in after]


RUNS: dict[str, tuple[list[str], list[float | None], list[list[int]]]] = {
    "whole": (minutes(0, 5, 10), [1, 2, 3], [[0, 1, 2]]),
    "a window without a value": (minutes(0, 5, 10), [1, None, 3], [[0], [2]]),
    "a window that is not there": (minutes(0, 5, 15, 20), [1, 2, 3, 4], [[0, 1], [2, 3]]),
    "two windows with three between them": (minutes(5, 25), [1, 2], [[0], [1]]),
    "moments of any kind": (["2024-01-01 08:00:01", "2024-01-01 08:00:03.5", *minutes(9)], [1, 2, 3], [[0, 1, 2]]),
    "days": (["2024-01-01", "2024-01-02", "2024-01-04"], [1, 2, 3], [[0, 1], [2]]),
    "no moments": (["a", "b", "c"], [1, 2, None], [[0, 1]]),
    "nothing": ([], [], []),
}


@pytest.mark.parametrize(("labels", "values", "found"), RUNS.values(), ids=RUNS)
def test_a_line_does_not_go_over_what_is_not_there(
    labels: list[str], values: list[float | None], found: list[list[int]]
) -> None:
    assert runs(labels, values) == found


def test_an_axis_of_time_is_the_same_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Dashboard("mine", "Mine", "tencent", (Panel("Bytes", "line", ""),))
    hours = [f"2024-03-31 {hour:02}:00:00" for hour in range(8)]  # in Central Europe there is no 02:00
    answer = Answer(board.panels[0], computed_records(pa.table({"time": hours, "bytes": range(8)}), complete=True))
    drawn = []
    for zone in ("UTC", "CET-1CEST,M3.5.0,M10.5.0"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        console = Console(file=io.StringIO(), width=100)
        draw(board, [answer], console)
        drawn.append((console.file.getvalue(), page(board, [answer])))  # type: ignore[attr-defined]
    monkeypatch.undo()
    time.tzset()
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.125, "0.125"),
        (2_411, "2411"),
        (9_999.6, "10000"),
        (10_000, "10k"),
        (999_960, "1000k"),
        (1_254_000, "1.254M"),
        (-2.5e9, "-2.5G"),
        (7e15, "7000T"),
    ],
)
def test_numbers_are_short(value: float, told: str) -> None:
    assert short(value) == told


ODD = {
    "two rows of one place": (
        Panel("P", "bar", "log-status:OK | select srcaddr, dstport, sum(bytes) as b group by srcaddr, dstport, action"),
        "several rows are for 10.0.0.",
    ),
    "a series that is no column": (
        Panel("P", "line", "* | select srcaddr, sum(bytes) as b group by srcaddr", series="acton"),
        "series is 'acton', and no column is called so: there are srcaddr, b",
    ),
    "a chart of nothing but text": (
        Panel("P", "pie", "* | select srcaddr group by srcaddr order by srcaddr"),
        "10.0.0.1",
    ),
    "a number of nothing": (Panel("P", "number", "* | select sum(bytes) as b where bytes > 1000000"), "-"),
    "numbers below zero": (Panel("P", "bar", "* | select action, 0 - sum(bytes) as b group by action"), "-60k"),
    "infinite": (Panel("P", "line", "* | select action, infinity() as b, 7 as c group by action"), "c"),
    "what a terminal obeys": (
        Panel("\x1b[2J", "table", "* | select concat(chr(27), '[31m') as x limit 1"),
        "\\x1b[31m",
    ),
}


@pytest.mark.parametrize(("panel", "told"), ODD.values(), ids=ODD)
def test_what_no_chart_was_made_for_is_told_or_shown(panel: Panel, told: str) -> None:
    board = Dashboard("mine", "Mine", "tencent", (panel,))
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        answers = ask(board, filled(service))
    console = Console(file=io.StringIO(), width=100)
    draw(board, answers, console)
    for text in (console.file.getvalue(), page(board, answers)):  # type: ignore[attr-defined]
        assert told in html.unescape(text)
        assert "\x1b" not in text


def test_a_page_says_to_everybody_what_it_shows(answered: dict[str, list[Answer]], tmp_path: Path) -> None:
    board = dashboard("tencent-eni", tmp_path)
    written = page(board, answered["tencent-eni"])
    assert written == page(board, answered["tencent-eni"])
    for answer in answered["tencent-eni"]:
        chart = answer.panel.chart in ("line", "bar", "pie")
        assert written.count(f'<figure role="img" aria-label="{answer.panel.title}">') == chart
        section = written.partition(f"<h2>{answer.panel.title}")[2].partition("</section>")[0]
        cells = re.findall(r"<td[^>]*>(.*?)</td>", section)
        values = [shown(value) for record in answer.records or [] for value in record.values()]
        assert cells == ([] if answer.panel.chart == "number" else values)
    assert 'name="viewport"' in written


def test_a_page_needs_nothing_beside_it_and_holds_no_script(tmp_path: Path) -> None:
    hostile = Panel("<b>", "bar", "* | select '<script>alert(1)</script>' as x, count(*) as n")
    board = Dashboard("mine", "<script>", "tencent", (hostile, *dashboard("tencent-eni", tmp_path).panels))
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        written = page(board, ask(board, filled(service)))
    assert "<script" not in written
    assert set(re.findall(r"https?://[^\"' <)]+", written)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r"(src|href)=[\"'](?!#)", written)
    for svg in re.findall(r"<svg.*?</svg>", written, re.DOTALL):
        ElementTree.fromstring(svg)


def test_a_panel_that_is_refused_says_why_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "Mine"\nprovider = "tencent"\n'
        '[[panel]]\ntitle = "Wrong"\nchart = "bar"\nquery = "nope:1 | select 1"\n'
        '[[panel]]\ntitle = "Empty"\nchart = "line"\nquery = "packets:>1000 | select srcaddr, bytes"\n'
        '[[panel]]\ntitle = "Right"\nchart = "number"\nquery = "* | select count(*) as n"\n'
    )
    board = dashboard("mine", tmp_path)
    assert board == read_dashboard(path)
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        answers = ask(board, filled(service))
    console = Console(file=io.StringIO(), width=100)
    draw(board, answers, console)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    for told in (drawn, page(board, answers)):
        assert "nope is not in the index" in told
        assert "nothing was found" in told
        assert "12" in told


@pytest.mark.parametrize(
    ("values", "shares"),
    [([3, 1, 0], [1, 1 / 3, 0]), ([10**12, 10**11], [1, 0.1]), ([10**12], [1]), ([0, 0], [0, 0])],
    ids=["small", "terabytes", "one", "nothing"],
)
def test_bars_are_as_long_as_their_values(values: list[int], shares: list[float]) -> None:
    board = Dashboard("mine", "Mine", "tencent", (Panel("Bytes", "bar", ""),))
    table = pa.table({"over": [f"at {at}" for at in range(len(values))], "bytes": values})
    console = Console(file=io.StringIO(), width=100)
    draw(board, [Answer(board.panels[0], computed_records(table, complete=True))], console)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    lines = re.findall(r"at \d  .*", drawn)
    assert [line.split()[-1] for line in lines] == [short(value) for value in values]
    widths = [len(re.findall("[█-▏]", line)) for line in lines]
    assert widths == pytest.approx(
        [share * (100 - 8 - max(len(line.split()[-1]) for line in lines)) for share in shares], abs=1
    )


HEAD = 'title = "a"\nprovider = "tencent"\n'
PANEL = '[[panel]]\ntitle = "b"\nchart = "bar"\nquery = "*"\n'
WRONG = {
    "no TOML": ("title =", "x.toml is no dashboard: Invalid value (at end of document)"),
    "no title": ('provider = "tencent"\n' + PANEL, "x.toml:1: a dashboard has a title, this one has none"),
    "no provider": ('title = "a"\n' + PANEL, "x.toml:1: a dashboard has a provider, this one has none"),
    "an unknown provider": (
        'title = "a"\nprovider = "tencnt"\n' + PANEL,
        "x.toml:2: provider is 'tencnt': did you mean tencent?",
    ),
    "no panel": (HEAD, "x.toml:1: a dashboard has [[panel]] entries"),
    "a panel that is none": (HEAD + "panel = [1]", "x.toml:3: a panel is a table, [[panel]], not 1"),
    "a panel without a query": (
        HEAD + PANEL + '[[panel]]\ntitle = "b"\nchart = "bar"',
        "x.toml:7: a panel has a query, this one has none",
    ),
    "an unknown chart": (
        HEAD + PANEL + PANEL.replace("bar", "bars"),
        "x.toml:9: chart is 'bars': did you mean bar?",
    ),
    "an unknown word": (HEAD + PANEL + 'serie = "a"', "x.toml:7: a panel has no serie: did you mean series?"),
    "a number for a text": (HEAD + PANEL.replace('"b"', "5"), "x.toml:4: title is text, not 5"),
    "several": (
        "title = 1\n" + HEAD[HEAD.index("p") :] + PANEL.replace("query", "sql"),
        "x.toml:1: title is text, not 1\n",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_dashboard_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(LabError) as refused:
        dashboard("x", tmp_path)
    assert message in f"{refused.value}\n".replace(f"{tmp_path}/", "")


def test_a_name_that_nothing_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"there is no dashboard 'nope', .*; there are alibaba-overview, .*tencent-eni"):
        dashboard("nope", tmp_path)


@pytest.mark.parametrize("missing", ["plotext", "pygal"])
def test_without_its_library_a_chart_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    board = dashboard("tencent-eni", tmp_path)
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        answers = ask(board, filled(service))
    monkeypatch.setitem(sys.modules, missing, None)
    show = {"pygal": lambda: page(board, answers), "plotext": lambda: draw(board, answers, Console(file=io.StringIO()))}
    with pytest.raises(RequirementMissing, match=r"vpclab\[charts\]"):
        show[missing]()


def test_the_command_reads_a_data_folder_while_another_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    own = tmp_path / "config" / "vpclab" / "dashboards"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text(
        'title = "Mine"\nprovider = "tencent"\n'
        '[[panel]]\ntitle = "Age"\nchart = "number"\n'
        'query = "* | select cast(to_unixtime(now()) as bigint) - max(\\"end\\") as age"\n'
    )
    data = tmp_path / "data"

    def command(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["dashboard", *words])
        error = result.exception
        return result.exit_code, result.output + ("" if isinstance(error, SystemExit) else str(error or ""))

    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0, folder=data) as service:
        filled(service)
        code, told = command("tencent-eni", "--data", str(data))
        assert code == 0
        assert "25.0" in told
        assert "Top talkers" in told
        code, told = command("mine", "--data", str(data))
        assert (code, told.split("\n")[-2].strip()) == (0, "0")
        code, told = command("tencent-eni", "--data", str(data), "--html", str(tmp_path / "x.html"))
        assert (code, told) == (0, "")
        assert "<svg" in (tmp_path / "x.html").read_text()
        code, told = command("tencent-eni", "--data", str(data), "--end", str(START))
        assert told.count("nothing was found") >= 5
        filled(service, "more")
        code, told = command("tencent-eni", "--data", str(data))
        assert code != 0
        assert "say which topic: --topic NAME; there are demo/flows, demo/more" in told
        assert (
            "there is no logset 'dem': did you mean demo?" in command("mine", "--data", str(data), "--logset", "dem")[1]
        )
        assert command("tencent-eni", "--data", str(data), "--topic", "more")[0] == 0
    assert "there is no dashboard 'nope'" in command("nope", "--data", str(data))[1]
    assert "there are no logs in" in command("tencent-eni", "--data", str(tmp_path / "none"))[1]
    assert command("tencent-eni", "--data", str(tmp_path / "none"))[0] != 0


def test_what_goes_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0, folder=tmp_path) as service:
        filled(service)
        service.store.compacted()  # type: ignore[attr-defined]
    with open("/dev/full", "w") as full:
        run = subprocess.run([*COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert (run.returncode, run.stderr) == (1, "vpclab: [Errno 28] No space left on device\n")
    for file in (tmp_path / "segments").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run = vpclab("dashboard", "alibaba-rejection", "--data", str(tmp_path))
    assert (run.returncode, run.stdout.count("nothing was found")) == (0, 1)
    assert re.fullmatch(r"vpclab: .*parquet is not what was written: .* its 12 records are left out\n", run.stderr)
