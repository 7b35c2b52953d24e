# SPDX-License-Identifier: Apache-2.0
"""Checks that every path in the README's map and every relative link in the documentation exists."""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def map_paths(readme):
    """Yields the paths of the code block under the heading "Map": indentation of two spaces nests."""
    match = re.search(r"^## Map$.*?^```\w*\n(.*?)^```", readme, re.S | re.M)
    if match is None:
        raise SystemExit('README.md has no code block under a heading "## Map"')
    parents = []
    for line in match.group(1).splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        parents[depth:] = [name]
        yield "".join(parents)


def broken_links():
    """Yields (file, target) for each relative link in a Markdown file whose target does not exist."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in sorted(pages):
        for target in LINK.findall(page.read_text()):
            if not target.startswith(("http:", "https:", "mailto:")) and not (page.parent / target).exists():
                yield page.relative_to(ROOT), target


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    paths = list(map_paths((ROOT / "README.md").read_text()))
    missing = [path for path in paths if not (ROOT / path).exists()]
    mapped = {path.split("/")[1] for path in paths if path.startswith("src/") and path != "src/"}
    unmapped = sorted({path.parent.relative_to(ROOT / "src").parts[0] for path in (ROOT / "src").rglob("*.*")
                       if path.suffix in {".cc", ".h"}} - mapped)
    broken = list(broken_links())
    for path in missing:
        print(f"README.md: {path} is on the map but not in the tree")
    for folder in unmapped:
        print(f"README.md: src/{folder}/ is in the tree but not on the map")
    for page, target in broken:
        print(f"{page}: the link to {target} leads nowhere")
    if not (missing or unmapped or broken):
        print(f"map: {len(paths)} paths, all there")
    return 1 if missing or unmapped or broken else 0


if __name__ == "__main__":
    sys.exit(main())
