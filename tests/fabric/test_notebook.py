"""A lab in a notebook: an event loop runs in the kernel, threads do, and cells can be interrupted."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel


@pytest.fixture
def notebook(
    needs_kernel: None, running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Runs cells in a notebook, or those of a page that is one, and returns what each printed."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    kernels = tmp_path / "jupyter_data_dir" / "kernels" / "here"
    kernels.mkdir(parents=True)
    argv = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernels / "kernel.json").write_text(f'{{"argv": {argv}, "display_name": "here", "language": "python"}}')
    monkeypatch.setenv("PYTHONPATH", running.environment()["PYTHONPATH"])

    def run(*cells: str, page: Path | None = None) -> list[str]:
        if page is None:
            book = nbformat.v4.new_notebook()
            book.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells]
        else:
            book = nbformat.read(page, as_version=4)
            nbformat.validate(book)
        client = nbclient.NotebookClient(book, timeout=60, kernel_name="here", resources={"metadata": {"path": "/"}})
        client.execute()
        return [
            "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")
            for cell in book.cells
            if cell.cell_type == "code"
        ]

    return run


def test_a_lab_lives_from_cell_to_cell(notebook: Callable[..., list[str]], running: Any) -> None:
    said = notebook(
        """
        import os, warnings
        from emulator import Lab
        lab = Lab()
        subnet = lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24")
        a, b = subnet.run_instance("A"), subnet.run_instance("B")
        """,
        "print(a.ping(b, count=3).received)",
        """
        topic = lab.logs.create_topic("flows")
        a.eni.create_flow_log("log", topic=topic)
        a.ping(b, count=2)
        lab.clock.advance(minutes=15)
        print(sorted((row["packets"], row["action"]) for row in topic.search("protocol:1")))
        """,
        """
        offset = 40
        def add(number):
            return number + offset
        print(a.call(add, 2), a.call(lambda: __import__("socket").gethostname()))
        """,
        """
        print(lab.net.get("A").cmd("hostname").strip(), lab.fabric.keeper.pid)
        """,
        """
        import signal, threading
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            a.run(["sleep", "1000"])
        except KeyboardInterrupt:
            print("interrupted")
        print(a.ping(b).received)
        """,
        "lab.close(); print(lab)",
    )
    assert said[1] == "3\n"
    assert said[2] == "[(2, 'ACCEPT'), (2, 'ACCEPT')]\n"
    assert said[3] == "42 A\n"
    name, keeper = said[4].split()
    assert name == "A"
    assert said[5] == "interrupted\n1\n"
    assert "closed" in said[6]
    running.until(lambda: not os.path.exists(f"/proc/{keeper}") or not running.alive(int(keeper)), "the keeper ends")


def test_the_ping_as_a_notebook(notebook: Callable[..., list[str]]) -> None:
    """The page in docs/ tells what a reader will see; its outputs are not kept."""
    page = Path(__file__).resolve().parents[2] / "docs" / "ping.ipynb"
    opened, reply, waiting, records, why, refused, sums, books = notebook(page=page)
    assert opened == ""
    assert "9 packets transmitted, 9 received" in reply
    assert waiting == "0 records before\n2 records after\n"
    assert records == "10.16.0.22 10.16.0.40 9 756 ACCEPT\n10.16.0.40 10.16.0.22 9 756 ACCEPT\n"
    assert why.startswith("ACCEPT of what left eni-")
    assert "other side: eni-" in why
    *_, record, because = refused.splitlines()
    assert "3 packets transmitted, 0 received" in refused
    assert record == "10.16.0.22 10.16.0.40 3 REJECT"
    assert because.endswith("deny ingress icmp from anywhere")
    assert sums == "[{'srcaddr': '10.16.0.22', 'bytes': 1008}, {'srcaddr': '10.16.0.40', 'bytes': 756}]\n"
    assert books == "True\n"
