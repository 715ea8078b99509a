"""Faults in what is kept of a list, in how one is read anew, and in who is new in it."""

from __future__ import annotations

from mutants import Mutant

_READINGS, _TREES = "tests/serving/test_readings.py", "tests/models/test_trees.py"
_PRODUCTS, _RECORDS = "tests/models/test_products.py", "tests/serving/test_records.py"
_LIKE_NOTHING = "test_a_new_item_like_nothing_that_is_a_candidate_is_recommended_all_the_same"
_AHEAD, _SHORT = "tests/serving/test_ahead.py", "tests/serving/test_short_way.py"
_WARM, _LEARNED = "tests/models/test_warm_start.py", "tests/serving/test_online_service.py"

MUTANTS = [
    Mutant(
        "lists: what was said holds although something new came",
        "serving/state/readings.py",
        "        return self.asked_s == asked_s and self.done.same(done)\n",
        "        return self.asked_s == asked_s\n",
        (_READINGS,),
    ),
    Mutant(
        "lists: what was said holds for ever",
        "serving/state/readings.py",
        "        return self.asked_s == asked_s and self.done.same(done)\n",
        "        return self.done.same(done)\n",
        (_READINGS,),
    ),
    Mutant(
        "lists: a page's own items are kept as the user's",
        "serving/state/readings.py",
        "    if len(view.visit):\n        return None\n    return view.user if",
        "    return view.user if",
        (_READINGS,),
    ),
    Mutant(
        "lists: scores are kept without end",
        "serving/state/readings.py",
        "len(self._whole) * len(scores) > MOST_SCORES and",
        "False and",
        (_READINGS,),
    ),
    Mutant(
        "lists: a threshold is rounded to the nearest",
        "models/trees.py",
        "float(rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf)))",
        "float(rounded)",
        (_TREES,),
    ),
    Mutant(
        "lists: a weight that counts is left out of a long history",
        "models/products.py",
        "FAINT: Final = 1e-9\n",
        "FAINT: Final = 1e-3\n",
        (_PRODUCTS,),
    ),
    Mutant(
        "lists: rows that are gathered one by one overwrite each other's places",
        "models/products.py",
        "        out[row] = table[rows.indices[named]].T @ rows.data[named]\n",
        "        out[0] = table[rows.indices[named]].T @ rows.data[named]\n",
        (_PRODUCTS,),
    ),
    Mutant(
        "lists: the model is not asked for what a new item reads like",
        "serving/state/newcomers.py",
        "        near[alone, nearest] = judged.beyond(placed.near[alone, nearest])\n",
        "",
        (f"{_RECORDS}::{_LIKE_NOTHING}",),
    ),
    Mutant(
        "lists: equal keys lose their order",
        "ordering.py",
        "    both = np.sort(keys << bits | np.arange(len(keys)))\n",
        "    both = np.sort(keys << bits | np.arange(len(keys))[::-1])\n",
        ("tests/features/test_ordering.py",),
    ),
    Mutant(
        "lists: answers of one millisecond are named in any order",
        "serving/decisions/ids.py",
        "        _LAST[0] = max(_LAST[0] + 1, time.time_ns() * 4096 // 1_000_000)\n",
        "        _LAST[0] = time.time_ns() // 1_000_000 * 4096\n",
        ("tests/serving/test_decision_log.py",),
    ),
    Mutant(
        "lists: a warm start keeps vectors as long as they had grown",
        "models/warm.py",
        "np.float32(min(1.0, length / max(float(earlier.norms[rows[known]].mean()), 1e-9)))",
        "np.float32(1.0)",
        (_WARM,),
    ),
    Mutant(
        "lists: a warm start keeps what the earlier model had learned as it is",
        "models/warm.py",
        "fresh.lerp_(torch.from_numpy(earlier.weights[name]), LEARNED)",
        "fresh.copy_(torch.from_numpy(earlier.weights[name]))",
        (_WARM,),
    ),
    Mutant(
        "lists: of more lists than can wait none is drawn, so each is pushed out before its time",
        "serving/online/pending.py",
        "                out = [user for user in self._of if not self._drawn(user)]\n",
        "                out = [next(iter(self._of))]\n",
        (_LEARNED,),
    ),
    Mutant(
        "lists: pairs that wait for the horizon are pushed out before it is over",
        "serving/online/chance.py",
        "self._every, self._changed_s = self._every * 2, at_s\n",
        "pass\n",
        (_LEARNED,),
    ),
    Mutant(
        "lists: what was made ready holds although something new came",
        "serving/state/readings.py",
        "        if named is not None and _same(named, done):\n",
        "        if named is not None:\n",
        (_AHEAD,),
    ),
    Mutant(
        "lists: what was made ready for who is erased meanwhile is kept",
        "serving/answer/ahead.py",
        "        if engine.memory.users.get(user_id) < 0:  # erased meanwhile\n",
        "        if False:\n",
        (_AHEAD,),
    ),
    Mutant(
        "lists: lists are made ready while others wait for theirs",
        "serving/answer/ahead.py",
        "            while seen != (seen := self._came()):\n",
        "            while False:\n",
        (_AHEAD,),
    ),
    Mutant(
        "lists: a decision of who is known is written without a key after keys were forgotten",
        "serving/decisions/file.py",
        "            self._keys.clear()\n        new = [name for name in names if name not in self._keys]\n",
        "            new = []\n        new = [name for name in names if name not in self._keys]\n"
        "        if len(self._keys) + len(names) > _FORGET_AFTER:\n            self._keys.clear()\n",
        ("tests/serving/test_decision_log.py",),
    ),
    Mutant(
        "lists: a model that takes its time is asked where events and health wait for it",
        "serving/http/answer_door.py",
        "engine.readings.holds(engine.ask(asked.user_id, asked.session_id), standing, whole)",
        "True",
        (_SHORT,),
    ),
    Mutant(
        "lists: the best of what was said stand for the score of every item",
        "serving/state/readings.py",
        "            return said.scores is not None or (said.top is not None and not whole)\n",
        "            return said.scores is not None or said.top is not None\n",
        (_SHORT,),
    ),
    Mutant(
        "lists: who was here long ago takes the room of who was here last",
        "serving/state/readings.py",
        "                self._named.move_to_end(user, last=False)\n",
        "                pass\n",
        (_AHEAD,),
    ),
    Mutant(
        "lists: lists are made ready again and again though there is no room for them",
        "serving/answer/ahead.py",
        "spent_s > MOST_S or engine.readings.full",
        "spent_s > MOST_S",
        (_AHEAD,),
    ),
]
