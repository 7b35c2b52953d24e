# SPDX-License-Identifier: Apache-2.0
"""The examples of the guide run: each page is one program, in an empty folder."""
import pathlib
import re

import pytest

from mxnet._core import _ext

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guide"
PAGES = [page for page in sorted(GUIDE.glob("*.md")) if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    # Empty lines in the place of the prose, so that a traceback shows the page's own line numbers.
    prose = r"(?s)\A.*?```python\n|```\n.*?(?:```python\n|\Z)"
    program = re.sub(prose, lambda found: "\n" * found[0].count("\n"), text)
    try:
        exec(compile(program, str(page), "exec"), {"__name__": page.stem})
    finally:
        _ext.clear_precision()  # amp.init acts on the process
