"""What the pages say is so: commands, links, examples, files, and both languages in step."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from intently.cli import app
from intently.config import load_settings
from intently.models import REGISTRY

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "intently"
README, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?<![\w./-])intently ([a-z][a-z-]*)([^`&|#\n]*)")
MARKER = re.compile(r"<!-- (?:table:\w+|/table) -->")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fenced(page: Path, kind: str) -> str:
    """The page's fenced blocks of one kind, one after the other."""
    return "\n".join(re.findall(rf"^```{kind}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL))


def code(page: Path) -> str:
    """Inline code, indented blocks and fenced blocks that are not Python."""
    words = re.sub(r"^```python\n.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^(?: {4}.*|```\w*\n(?s:.*?)^```)$", words, re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", words)])


def file_map(page: Path) -> list[Path]:
    """The paths that the page's last indented block names, each under the folder it is indented to."""
    block = re.findall(r"(?:^ {4}\S.*\n|^ {6}\S.*\n)+", text(page), re.MULTILINE)[-1]
    paths, folder = [], ROOT
    for line in block.splitlines():
        name = line.split()[0]
        if line.startswith(" " * 6):
            paths.append(folder / name)
        else:
            folder = ROOT / name
            paths.append(folder)
    return paths


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# -- commands and configuration ------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_in_a_page_exists(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in COMMAND.findall(code(page)):
        assert name in commands, f"{page.name} says `intently {name}`"
        known = {flag for option in commands[name].params for flag in (*option.opts, *option.secondary_opts)}
        flags = re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)
        assert set(flags) <= known | {"--help"}, f"{page.name}: intently {name}{rest}"


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_the_readme_lists_every_command(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    listed = re.findall(r"^\| `intently ([a-z-]+)` \|", text(page), re.MULTILINE)
    assert listed == [name for name in commands if name in listed]  # in the order of --help
    assert set(listed) == {name for name, command in commands.items() if not command.hidden}


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_the_settings_in_the_readme_are_read(page: Path, tmp_path: Path) -> None:
    path = tmp_path / "intently.toml"
    path.write_text(fenced(page, "toml"), encoding="utf-8")
    assert load_settings(path).horizon_days == 14


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text(page), re.MULTILINE)) <= targets


# -- HTTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_every_route_in_the_readme_exists(page: Path) -> None:
    from intently.serving.app import GROUPS

    routers = [group.routes(None) for group in GROUPS]  # type: ignore[arg-type]
    paths = [getattr(route, "path", "") for router in routers for route in router.routes] + ["/openapi.json"]
    patterns = [re.compile(re.sub(r"\{[^}]+\}", "[^/?]+", path)) for path in paths]
    said = re.findall(r"(?:127\.0\.0\.1:8000|`)(/(?:v1/[\w/{}]+|\w+z\b|metrics|openapi\.json))", code(page))
    said += re.findall(r"`(/[^`\s]+)`", text(page))
    assert len(said) >= 10
    for route in said:
        assert any(pattern.fullmatch(route) for pattern in patterns), route


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_the_bodies_in_the_readme_are_accepted(page: Path) -> None:
    from intently.serving.shapes.answers import PredictRequest, RecommendationRequest
    from intently.serving.shapes.events import EventIn

    of: dict[str, type[BaseModel]] = {
        "recommendations": RecommendationRequest,
        "predict": PredictRequest,
        "events": EventIn,
    }
    bodies = re.findall(r"-X POST http://127\.0\.0\.1:8000/v1/(\w+) .*?-d '(.*?)'", text(page), re.DOTALL)
    assert {route for route, _ in bodies} == set(of)
    for route, body in bodies:
        of[route].model_validate(json.loads(body))


# -- links, files, examples ----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_the_file_map_names_what_there_is(page: Path) -> None:
    named = file_map(page)
    assert len(named) > 15
    assert [str(path.relative_to(ROOT)) for path in named if not path.exists()] == []
    rooms = {path.parent for path in SOURCE.glob("*/__init__.py")}
    rooms |= {path for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    assert {path.name for path in rooms - set(named)} == set(), "not on the map"


def test_the_rooms_of_the_architecture_name_files_that_exist() -> None:
    room, n_named = SOURCE, 0
    for line in text(ROOT / "ARCHITECTURE.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 3 or cells[0] in ("room", "---"):
            continue
        for name in re.findall(r"`([^`]+)`", cells[0]):
            assert (SOURCE / name).exists(), name
            room = SOURCE / name
        for name in re.findall(r"`([^`]+)`", cells[1]):
            assert list(room.glob(name.rstrip("/"))), f"{room.name}/{name}"
            n_named += 1
    assert n_named > 50


def test_the_python_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    source = fenced(README, "python")
    assert ast.dump(ast.parse(source)) == ast.dump(ast.parse(fenced(CHINESE, "python")))
    exec(compile(source, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "ndcg@10" in shown
    assert "a stranger" in shown


def test_the_changelog_names_every_model() -> None:
    said = text(ROOT / "CHANGELOG.md")
    assert [name for name in REGISTRY if f"`{name}`" not in said] == []


def test_decisions_are_numbered_once() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert all(one < other for one, other in pairwise(numbers)), numbers
    for page in pages:
        assert text(page).startswith(f"# {page.name[:4]}"), page.name


# -- two languages, one tree ---------------------------------------------------------------------


def test_the_two_readmes_keep_step() -> None:
    for name, parts in {
        "headings": r"^#+(?= )",
        "commands": r"^\| `intently [a-z-]+`",
        "command lines": r"^    (?:intently|make) [^#\n]*",
        "requests": r"^ +(?:curl|-d) .*$",
        "files": r"^ {4,6}[\w/.]+\.?(?:py|/)(?= )",
    }.items():
        english, chinese = (
            [part.strip() for part in re.findall(parts, text(page), re.MULTILINE)]
            for page in (README, CHINESE)
        )
        assert english, name
        assert english == chinese, name
    assert MARKER.findall(text(README)) == MARKER.findall(text(CHINESE))
    links = [{link.partition("#")[0] for link in LINK.findall(text(page))} for page in (README, CHINESE)]
    assert links[0] ^ links[1] == {"README.md", "README.zh.md"}


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_every_table_marker_is_closed_and_stands_once(page: Path) -> None:
    markers = MARKER.findall(text(page))
    assert markers[1::2] == ["<!-- /table -->"] * (len(markers) // 2)
    opened = markers[::2]
    assert len(set(opened)) == len(opened) > 0
    assert "<!-- /table -->" not in opened


def test_the_tree_names_no_package_index_and_no_machine() -> None:
    hosts = "|".join(
        (
            "py" + r"pi\.org",
            "python" + r"hosted\.org",
            "npm" + r"js\.(?:org|com)",
            "--(?:extra-)?index" + "-url",
        )
    )
    folders = r"(?<![\w.)\]}-])/(?:work|root|home/[a-z]\w*|Users/[a-z]\w*)/"
    bad = re.compile(f"{hosts}|{folders}|DESIGN" + r"\.md")
    found = {}
    for path in tracked():
        words = path.read_bytes().decode("utf-8", "replace")
        if hit := bad.search(words):
            found[str(path.relative_to(ROOT))] = hit.group()
    assert found == {}
