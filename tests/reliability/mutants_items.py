"""Faults in what the shop says of its items, and in the pictures that they name."""

from __future__ import annotations

from mutants import Mutant

_KINDS = ("tests/serving/test_record_kinds.py",)
_PICTURES, _IMAGE = "tests/senses/test_pictures.py", "tests/senses/test_image.py"
_OUTSIDE = (f"{_PICTURES}::test_nothing_outside_the_folder_is_found",)
_REFUSED = (f"{_PICTURES}::test_what_is_no_picture_is_refused_with_the_reason",)
_LOOKS = (
    "tests/serving/test_records.py::test_a_new_item_is_recommended_to_those_who_like_what_looks_like_it",
)

MUTANTS = [
    Mutant(
        "items: a column is cast where two kinds of values meet",
        "serving/state/catalogue.py",
        "alike = one.dtype == other.dtype or",
        "alike = True or",
        _KINDS,
    ),
    Mutant(
        "items: what came together must be of one kind",
        "serving/state/catalogue.py",
        "columns = [column(name, [given.get(name) for given in rows]) for name in names]",
        "columns = [pl.Series(name, [given.get(name) for given in rows]) for name in names]",
        _KINDS,
    ),
    Mutant(
        "items: an attribute may have the name of the column of item numbers",
        "serving/state/catalogue.py",
        'NUMBER: Final = ":number"',
        'NUMBER: Final = "number"',
        _KINDS,
    ),
    Mutant(
        "items: one item's text makes texts of all others' numbers",
        "store/attributes.py",
        "or max(_KINDS, key=lambda kind: kinds[kind])",
        "or (max(kinds) if len(kinds) == 1 else 'text')",
        _KINDS,
    ),
    Mutant(
        "items: an attribute is told, and patched, as the table of all items holds it",
        "serving/intake/records.py",
        "engine.store.item(item_id) or engine.catalogue.of(number)",
        "engine.catalogue.of(number)",
        _KINDS,
    ),
    Mutant(
        "items: a picture outside the folder is read",
        "senses/pictures.py",
        "if file.is_file() and file.is_relative_to(self.root):",
        "if file.is_file():",
        _OUTSIDE,
    ),
    Mutant(
        "items: where a link leads is not looked at",
        "senses/pictures.py",
        "file = (self.root / inside).resolve()",
        'file = Path(__import__("os").path.abspath(self.root / inside))',
        _OUTSIDE,
    ),
    Mutant(
        "items: a picture of any size is unpacked",
        "senses/pictures.py",
        "> MAX_PIXELS:",
        "> 100 * MAX_PIXELS:",
        _REFUSED,
    ),
    Mutant(
        "items: weights are read whatever they are",
        "senses/weights.py",
        "if (digest := sha256_of(source)) != SHA256:",
        "if (digest := sha256_of(source)) == '':",
        (f"{_IMAGE}::test_a_damaged_graph_is_exported_again_and_strange_weights_are_refused",),
    ),
    Mutant(
        "items: a graph that changed on the disk is used",
        "senses/weights.py",
        '["sha256"] == sha256_of(file):',
        '["sha256"]:',
        (f"{_IMAGE}::test_a_damaged_graph_is_exported_again_and_strange_weights_are_refused",),
    ),
    Mutant(
        "items: a new item's picture is not looked at",
        "reader.py",
        "return said if self._joined is None else self._joined.vectors(said, self._seen(table))",
        "return said if self._joined is None else self._joined.vectors(said, 0 * self._seen(table))",
        _LOOKS,
    ),
]
