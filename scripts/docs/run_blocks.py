#!/usr/bin/env python3
"""Runs the shell blocks of README.md and src/guide/*.md that are marked as runnable, in order.

    scripts/docs/run_blocks.py            # with target/release/dsi, or the program that DSI_BIN names
    scripts/docs/run_blocks.py --list     # says which blocks there are

A runnable block opens with three backticks and `sh run`. Blocks run in a temporary folder with copies of configs/, data/ and
scripts/, with dsi on PATH and all output shown. The README's blocks come first, so the guide's may use its run folder. The
first command that fails ends the script with its file, line and exit code.

Needs Python 3.8 or newer and bash.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ["configs", "data", "scripts"]
OPENING = "```sh run"


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "src" / "guide").glob("*.md"))]


def blocks(page):
    """The runnable blocks of a page: the number of the first line, and the text."""
    found, lines, start = [], None, 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if lines is None and line.strip() == OPENING:
            lines, start = [], number + 1
        elif lines is not None and line.strip() == "```":
            found.append((start, "\n".join(lines)))
            lines = None
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        sys.exit(f"{page}:{start}: the block has no end")
    return found


def program():
    default = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "dsi"
    path = Path(os.environ.get("DSI_BIN", default)).resolve()
    if not path.is_file():
        sys.exit(f"{path} is not there: build it with cargo build --release, or set DSI_BIN")
    return path


def run(block, folder, path):
    """Runs one block; returns its exit code."""
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def run_all(found, folder):
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name)
    path = folder / "bin"
    path.mkdir()
    (path / "dsi").symlink_to(program())
    for page, line, block in found:
        place = f"{page.relative_to(ROOT)}:{line}"
        print(f"\n=== {place}\n{block}", flush=True)
        start = time.monotonic()
        code = run(block, folder, path)
        if code != 0:
            sys.exit(f"{place}: the block ended with exit code {code}")
        print(f"=== {place}: {time.monotonic() - start:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="say which blocks there are, and run none")
    arguments = parser.parse_args()
    found = [(page, line, block) for page in pages() for line, block in blocks(page)]
    if not found:
        sys.exit("no block is marked as runnable")
    if arguments.list:
        for page, line, block in found:
            print(f"{page.relative_to(ROOT)}:{line}: {block.splitlines()[0]}")
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dsi-docs-") as folder:
        run_all(found, Path(folder))
    print(f"\n{len(found)} blocks ran in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
