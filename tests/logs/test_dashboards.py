"""Dashboards: every panel of every preset, users' own, drawn in a terminal and as a page."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from emulator.cli import app
from emulator.errors import LabError, RequirementMissing
from emulator.logs import LogService, Topic, flow_index
from emulator.logs.dashboard import Answer, Dashboard, Panel, ask, curves, dashboard, presets, read_dashboard
from emulator.logs.drawing import draw
from emulator.logs.page import page
from emulator.logs.records import computed_records
from emulator.providers import profile

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
        labels, found = curves(answer)
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


def test_what_the_panels_of_the_eni_dashboard_say(tmp_path: Path) -> None:
    with LogService(profile=profile("tencent"), now=lambda: START + 3_600.0) as service:
        answers = {answer.panel.title: answer for answer in ask(dashboard("tencent-eni", tmp_path), filled(service))}
    assert answers["Share of REJECT"].records == [{"share": 25.0}]
    assert answers["Top talkers"].records == [
        {"srcaddr": "10.0.0.2", "bytes": 30_000},
        {"srcaddr": "10.0.0.1", "bytes": 26_000},
        {"srcaddr": "10.0.0.0", "bytes": 22_000},
    ]
    labels, found = curves(answers["Traffic"])
    assert len(labels) == 4
    assert found["REJECT"] == [1_000 * 8 / 300, 6_000 * 8 / 300, None, 11_000 * 8 / 300]
    assert answers["Who is rejected by what"].records[0]["srcaddr"] == "10.0.0.1"  # type: ignore[index]


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
    widths = [line.count("█") / len(line[6:-1]) for line in re.findall(r".*at \d┤.*", drawn)]
    assert widths == pytest.approx(shares, abs=0.03)


WRONG = {
    "no TOML": ("title =", "is no dashboard"),
    "no title": ('provider = "tencent"', "without title"),
    "no provider": ('title = "a"', "without provider"),
    "an unknown provider": ('title = "a"\nprovider = "aws"', "provider is tencent or alibaba, not 'aws'"),
    "no panel": ('title = "a"\nprovider = "tencent"', "has \\[\\[panel\\]\\] entries"),
    "a panel that is none": ('title = "a"\nprovider = "tencent"\npanel = [1]', "a panel is a table"),
    "a panel without a query": (
        'title = "a"\nprovider = "tencent"\n[[panel]]\ntitle = "b"\nchart = "bar"',
        "'b' without query",
    ),
    "an unknown chart": (
        'title = "a"\nprovider = "tencent"\n[[panel]]\ntitle = "b"\nchart = "cake"\nquery = "*"',
        "is one of line, bar, pie, number, table, not 'cake'",
    ),
    "an unknown word": (
        'title = "a"\nprovider = "tencent"\n[[panel]]\ntitle = "b"\nchart = "bar"\nquery = "*"\ncolor = "red"',
        "with color",
    ),
    "a number for a text": (
        'title = "a"\nprovider = "tencent"\n[[panel]]\ntitle = 5\nchart = "bar"\nquery = "*"',
        "title is text, not 5",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_dashboard_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(LabError, match=message):
        dashboard("x", tmp_path)


def test_a_name_that_nothing_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"there are alibaba-overview, .*tencent-eni"):
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
        assert command("tencent-eni", "--data", str(data), "--topic", "more")[0] == 0
    assert "there is no dashboard 'nope'" in command("nope", "--data", str(data))[1]
    assert command("tencent-eni", "--data", str(tmp_path / "none"))[0] != 0
