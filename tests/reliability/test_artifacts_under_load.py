"""Artifacts are killed, damaged and swapped under a real service; it goes on answering from a whole one.

The full counts are in benchmarks/reliability_artifacts.py; mutants_artifacts.py lists what these tests catch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from artifacts import Askers, damaged, damages, lists, moments, publisher, swap, unservable
from served import Running, boosted, grocery, keep, publish, repeat, running
from typer.testing import CliRunner

from intently import artifact
from intently.cli import app
from intently.config import Settings
from intently.data import Dataset
from intently.serving.state.engine import Engine

USERS = ["u003", "u007", "u011", "u020"]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return grocery()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Path:
    """A home with two versions, the calibrated one live; copied, never changed."""
    home = tmp_path_factory.mktemp("two-models")
    keep(home, shop)
    publish(home, shop, repeat(shop), stage="quick")
    publish(home, shop, boosted(shop))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A service on a copy, with its artifacts; every test leaves the calibrated version live."""
    home = Path(shutil.copytree(made, tmp_path_factory.mktemp("served") / "home"))
    with running(home) as service:
        yield service, home / "artifacts"


def test_killed_at_any_step_of_a_publication_what_is_live_can_be_served(
    served: tuple[Running, Path], made: Path
) -> None:
    service, root = served
    before = artifact.versions(root)
    with publisher(root) as told:
        steps = told.tell("count").split()[1:]
        assert len(steps) > 40
        killed = 0
        for moment in moments(15, steps, 0.05):
            killed += told.tell(moment) == "killed"
            assert unservable(root) == [], moment
            answer = service.recommend("u003")
            assert (answer["degraded"], len(answer["items"])) == (False, 5)
        assert killed >= 11
        assert told.tell("whole") == "done"
    assert not list(root.glob(".writing-*"))  # swept by the publication that was not killed
    assert swap(service, before[1]).status_code == 200
    for version in set(artifact.versions(root)) - set(before):
        shutil.rmtree(root / version)


def test_what_a_killed_publication_left_is_swept_but_not_what_another_still_writes(
    home: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = home / "artifacts"
    (root / ".writing-dead").mkdir()
    model, seen = repeat(shop), []
    save = type(model).save

    def slow(self: object, folder: Path) -> None:
        seen.extend(path.name for path in root.glob(".writing-*"))
        if len(seen) == 1:  # while this one writes, another begins and ends
            artifact.publish(root, model, shop, {}, "")
        save(self, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model), "save", slow)
    folder = artifact.publish(root, model, shop, {}, "")
    assert len(seen) == 3
    assert ".writing-dead" not in seen
    artifact.verify(folder)
    assert not list(root.glob(".writing-*"))


def test_everything_is_synced_before_it_gets_its_name(
    tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut could take: each file and folder is synced before the rename that shows it."""
    done: list[tuple[str, int]] = []
    sync, rename, replace = os.fsync, os.rename, os.replace

    def synced(handle: int) -> None:
        done.append(("sync", os.fstat(handle).st_ino))
        sync(handle)

    def named(move: str) -> object:
        def moved(source: Path, target: Path) -> None:
            done.append((move, Path(source).stat().st_ino))
            (rename if move == "rename" else replace)(source, target)

        return moved

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", named("rename"))
    monkeypatch.setattr(os, "replace", named("replace"))
    folder = artifact.publish(tmp_path, repeat(shop), shop, {}, "# card\n")
    artifact.promote(tmp_path, folder.name)
    inside = {path.stat().st_ino for path in [folder, *folder.rglob("*")]}
    root, pointer = tmp_path.stat().st_ino, (tmp_path / "live.json").stat().st_ino
    shown = done.index(("rename", folder.stat().st_ino))
    assert inside <= {inode for what, inode in done[:shown] if what == "sync"}
    assert done[shown + 1 :] == [("sync", root), ("sync", pointer), ("replace", pointer), ("sync", root)]


def test_a_damaged_version_is_never_taken_and_the_old_one_goes_on(served: tuple[Running, Path]) -> None:
    service, root = served
    other, live = artifact.versions(root)
    before, pointer = lists(service, USERS), (root / "live.json").read_bytes()
    for path, said, what in damages(root / other, 60, 16):
        with damaged(path, said):
            answer = swap(service, other)
        assert answer.status_code == 409, what
        assert answer.json()["detail"].startswith(other), what
        assert (root / "live.json").read_bytes() == pointer, what
        assert service.recommend("u003")["model_version"] == live, what
    assert lists(service, USERS) == before
    assert service.client.get("/healthz").json()["status"] == "ok"


def test_a_roll_back_answers_the_same_lists_as_before(served: tuple[Running, Path]) -> None:
    service, root = served
    other, live = artifact.versions(root)
    swap(service, other)
    before = lists(service, USERS)
    swap(service, live)
    assert lists(service, USERS) != before
    told = service.client.post("/v1/models:roll-back", json={}).json()
    assert (told["model_version"], told["before"]) == (other, live)
    assert lists(service, USERS) == before
    assert artifact.live(root) == root / other
    swap(service, live)


def test_swaps_under_load_fail_no_request(served: tuple[Running, Path]) -> None:
    service, root = served
    versions = artifact.versions(root)
    with Askers(service.address, USERS, 3) as asked:
        for i in range(8):
            assert swap(service, versions[i % 2]).json()["model_version"] == versions[i % 2]
            assert service.recommend("u003")["model_version"] == versions[i % 2]  # from the very next on
    assert asked.failed == []
    assert asked.answers > 20
    assert asked.versions == set(versions)


def test_the_list_of_models_says_which_is_live_and_what_cannot_be_read(
    served: tuple[Running, Path],
) -> None:
    service, root = served
    first, live = artifact.versions(root)
    odd = root / "20200101T000000000000-aaaaaaaa"
    odd.mkdir()
    (odd / "manifest.json").write_text("[]")
    told = service.client.get("/v1/models").json()
    assert (told["answering"], told["trouble"]) == (live, "")
    states = [(m["version"], m["live"], m["before"], m["model"]) for m in told["models"]]
    assert states[:2] == [(live, True, None, "boosted"), (first, False, 1, "repeat")]
    assert told["models"][2]["trouble"] == "its manifest cannot be read"
    shutil.rmtree(odd)
    (root / "live.json").write_text("{")
    told = service.client.get("/v1/models").json()
    assert told["answering"] == live
    assert "live.json is damaged" in told["trouble"]
    assert swap(service, live).status_code == 200


def test_a_swap_that_cannot_be_made_is_refused_in_words(served: tuple[Running, Path]) -> None:
    service, root = served
    live = artifact.versions(root)[-1]
    (root / "live.json").write_text(json.dumps({"versions": [live]}))
    ask = service.client.post
    assert ask("/v1/models/20990101T000000000000-00000000:promote", json={}).status_code == 404
    assert ask("/v1/models/..:promote", json={}).status_code == 404
    assert ask("/v1/models/a b:promote", json={}).status_code == 422
    assert ask(f"/v1/models/{live}:promote", json={"now": True}).status_code == 422
    assert ask(f"/v1/models/{live}:promote", content=b"{}").status_code == 415
    back = ask("/v1/models:roll-back", json={})
    assert (back.status_code, back.json()["detail"]) == (409, "there is no earlier version to go back to")
    assert service.recommend("u003")["model_version"] == live


def test_with_a_damaged_live_version_a_start_answers_from_the_one_before(home: Path) -> None:
    root = home / "artifacts"
    other, live = artifact.versions(root)
    arrays = root / live / "model" / "arrays.safetensors"
    with damaged(arrays, arrays.read_bytes()[:-1]):
        engine = Engine(Settings(home=home))
        engine.start()
        engine.close()
    assert engine.live.current is not None
    assert engine.live.current.artifact.version == other
    assert f"{other} answers instead" in engine.problems()[0]


def test_the_command_line_lists_promotes_and_goes_back(home: Path) -> None:
    root, run = home / "artifacts", CliRunner()
    first, live = artifact.versions(root)

    def told(*words: str) -> tuple[int, str]:
        done = run.invoke(app, ["models", *words, "--home", str(home)])
        return done.exit_code, f"{done.output}{done.exception or ''}"

    code, said = told()
    assert code == 0
    assert live in said
    assert "1 before" in said
    assert json.loads(told("--json")[1])["models"][0]["live"] is True
    assert told("roll-back") == (0, f"live: {first}\n")
    assert told("promote", live[:20]) == (0, f"live: {live}\n")
    for words, problem in [
        (("promote", "2"), "2 versions have '2' in its name"),
        (("promote", "nothing"), "no version has 'nothing' in its name"),
        (("promote",), "promote needs 1 versions, got 0"),
        (("undo",), "unknown action 'undo'"),
    ]:
        code, said = told(*words)
        assert code == 1
        assert problem in said
    (root / first / "README.md").write_text("other")
    assert "README.md is changed" in told("promote", first)[1]
    assert artifact.live(root) == root / live


def test_one_engine_swaps_at_once_and_keeps_what_others_point_to(home: Path) -> None:
    root = home / "artifacts"
    first, live = artifact.versions(root)
    engine = Engine(Settings(home=home))
    engine.start()
    try:
        assert engine.live.promote(first).artifact.version == first
        artifact.promote(root, live)  # by another process
        engine.live.refresh()
        assert engine.live.current is not None
        assert engine.live.current.artifact.version == live
        assert engine.live.roll_back().artifact.version == first
        assert engine.live.swaps == 4
    finally:
        engine.close()
