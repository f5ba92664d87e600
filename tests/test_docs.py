"""The pages of documentation: their snippets run and print what they say, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.pytest_plugin import need_kernel
from tests.children import REPOSITORY
from tests.documents import Snippet, check, snippets

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def name(snippet: Snippet) -> str:
    return f"{snippet.page.stem} line {snippet.line}"


@pytest.mark.kernel
@pytest.mark.parametrize("snippet", [one for page in PAGES for one in snippets(page)], ids=name)
def test_a_snippet(snippet: Snippet, tmp_path: Path) -> None:
    need_kernel()
    check(snippet, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]*)", text):
        assert not target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs_or_is_a_file(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    files = [block for block in blocks if re.match(r"# (?!test_)[\w.-]+\.py\n", block)]
    assert len(blocks) == len(files) + sum(one.language == "python" for one in snippets(page))
