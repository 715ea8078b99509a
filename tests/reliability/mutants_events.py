"""Faults on an event's way from the socket to the disk, and back into memory after a restart."""

from __future__ import annotations

from mutants import Mutant

_TESTS = "tests/reliability/test_events_under_faults.py"
_KILLS = (f"{_TESTS}::test_killed_while_events_come_in_nothing_acknowledged_is_missing",)
_SYNCS = (f"{_TESTS}::test_a_sync_comes_before_every_acknowledgement",)
_DISK = (f"{_TESTS}::test_what_a_failing_disk_refuses_is_not_acknowledged_and_reading_goes_on",)
_FULL = (f"{_TESTS}::test_a_file_that_may_not_grow_refuses_events_and_takes_them_once_it_may",)
_THRICE = (f"{_TESTS}::test_sent_three_times_in_any_order_across_a_restart_each_counts_once",)
_ENDED = (f"{_TESTS}::test_a_service_that_is_told_to_end_answers_what_was_begun_and_loses_nothing",)
_RECEIPTS = (
    "tests/serving/test_compat.py::test_a_repeated_request_gets_its_first_answer_also_after_a_restart",
)
_FILTER = ("tests/store/test_append.py",)
_LEDGER = ("tests/serving/test_ledger.py",)
_SHORT = ("tests/serving/test_plain_events.py",)

_WRITE = "        try:\n            with self._handing:\n"
_EARLY = "        _tell([(one, [True] * len(one.rows)) for one in group])\n"

MUTANTS = [
    Mutant(
        "events: acknowledged before the commit, which comes a moment later",
        "serving/state/ledger.py",
        _WRITE,
        _EARLY + "        threading.Event().wait(0.05)\n        group = []\n" + _WRITE,
        _KILLS,
    ),
    Mutant(
        "events: acknowledged just before the commit",
        "serving/state/ledger.py",
        _WRITE,
        _EARLY + "        group = []\n" + _WRITE,
        _SYNCS,
    ),
    Mutant(
        "events: the store does not sync",
        "store/sqlite.py",
        'db.execute("PRAGMA synchronous=FULL")',
        'db.execute("PRAGMA synchronous=OFF")',
        _SYNCS,
    ),
    Mutant(
        "events: the store syncs only at checkpoints",
        "store/sqlite.py",
        'db.execute("PRAGMA synchronous=FULL")',
        'db.execute("PRAGMA synchronous=NORMAL")',
        _SYNCS,
    ),
    Mutant(
        "events: what could not be stored is acknowledged",
        "serving/state/ledger.py",
        "                _tell([(group[0], self._failure(error))])\n",
        "                _tell([(group[0], [True] * len(group[0].rows))])\n",
        _DISK,
    ),
    Mutant(
        "events: a failing disk ends the writer",
        "serving/state/ledger.py",
        "        except Exception as error:  # the writer must outlive whatever the disk does\n",
        "        except NotReadyError as error:\n",
        _FULL,
    ),
    Mutant(
        "events: a transaction that failed is taken for kept",
        "store/sqlite.py",
        "                self._known.forget()\n                if db.in_transaction:",
        "                self._known.keep()\n                if db.in_transaction:",
        _DISK,
    ),
    Mutant(
        "events: nothing tells a new event from a known one",
        "store/append.py",
        "            new = mark not in recent and mark not in staged and mark not in known\n",
        "            new = True\n",
        _THRICE,
    ),
    Mutant(
        "events: the filter does not hear of what moves into the tree",
        "store/append.py",
        "            self._sieve.add(marks)\n",
        "",
        _FILTER,
    ),
    Mutant(
        "events: the filter is taken for whole before the tree was read",
        "store/append.py",
        "        self._sieved = piece[-1] + 1 if len(piece) == PIECE and piece[-1] < _MOST else None\n",
        "        self._sieved = None\n",
        _FILTER,
    ),
    Mutant(
        "events: acknowledged before the memory has them",
        "serving/state/ledger.py",
        "            try:\n                self._remember(stored.rows, stored.done)\n",
        "            _tell(stored.outcomes())\n            stored = Stored([], stored.rows, stored.done)\n"
        "            try:\n                self._remember(stored.rows, stored.done)\n",
        _LEDGER,
    ),
    Mutant(
        "events: a look at others' rows counts own ones that are on their way",
        "serving/state/ledger.py",
        "        if self._handing.acquire(blocking=False):\n            try:\n",
        "        self._look()\n        if self._handing.acquire(blocking=False):\n            try:\n",
        _LEDGER,
    ),
    Mutant(
        "events: after a restart only the tree of identities is known",
        "store/append.py",
        "            self._recent.add(mark)\n",
        "",
        _THRICE,
    ),
    Mutant(
        "events: a connection with an event on its way is closed at the end",
        "serving/http/express.py",
        "        self.response_complete = self.disconnected = False\n",
        "        self.response_complete, self.disconnected = True, False\n",
        _ENDED,
    ),
    Mutant(
        "events: a repeated request is carried out again",
        "serving/state/receipts.py",
        "        return Receipt(found[1], found[2])\n",
        "        return None\n",
        _RECEIPTS,
    ),
    Mutant(
        "events: the short way takes ids with a space around them",
        "serving/intake/plain.py",
        """ and text[0] != " " and text[-1] != " \"""",
        "",
        _SHORT,
    ),
    Mutant(
        "events: those that wait to be counted bring an erased user's items back",
        "serving/online/counters.py",
        "        self.settle()\n        with self._lock:  # else",
        "        with self._lock:  # else",
        (
            "tests/serving/test_online_counters.py"
            "::test_an_erased_users_events_that_wait_do_not_bring_their_items_back",
        ),
    ),
    Mutant(
        "events: nobody is held back who brings more than is counted",
        "serving/online/counting.py",
        "if waiting > BEHIND and",
        "if False and",
        (
            "tests/serving/test_online_counters.py::test_who_brings_more_than_is_counted_is_held_back_a_little",
        ),
    ),
]
