"""Run the python blocks of a page, in order: `python docs/run.py docs/worked-example.md`."""

import re
import sys
from pathlib import Path


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of one kind, top to bottom."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    exec(compile("\n".join(blocks(Path(sys.argv[1]), "python")), sys.argv[1], "exec"), {})
