"""Faults between the services of one shop."""

from __future__ import annotations

from mutants import Mutant

_TOGETHER = "tests/serving/test_several_services.py"
_ERASED = (f"{_TOGETHER}::test_who_is_erased_at_one_is_gone_from_the_very_next_answer_of_the_other",)
_UNHEARD = (f"{_TOGETHER}::test_an_erasure_that_another_has_not_heard_of_says_so_and_is_heard_later",)
_CHANGED = (f"{_TOGETHER}::test_items_and_users_changed_at_one_are_so_at_the_other",)
_BOTH = (f"{_TOGETHER}::test_two_who_change_one_item_at_once_lose_nothing",)
_PAGES = (f"{_TOGETHER}::test_pages_begun_at_one_go_on_at_the_other_without_a_repeat",)
_SHOWN = (f"{_TOGETHER}::test_what_one_showed_the_other_does_not_show_again",)
_KEY = (f"{_TOGETHER}::test_a_request_with_a_key_is_carried_out_by_one_of_them",)
_FIGURES = (f"{_TOGETHER}::test_figures_are_of_every_service",)
_LOST = ("tests/serving/test_redis_faults.py",)
_WORKERS = ("tests/serving/test_workers.py::test_no_worker_outlives_the_command",)
_NUMBERS = ("tests/store/test_postgres_numbers.py",)
_LOG = ("tests/serving/test_decision_log.py::test_who_another_service_erased_lends_their_key_to_nobody",)

MUTANTS = [
    Mutant(
        "services: who was erased is told to nobody",
        "serving/state/company.py",
        'everywhere = self._bus.tell_now("erased", user_id)',
        "everywhere = True",
        _ERASED,
    ),
    Mutant(
        "services: an erasure waits for nobody",
        "serving/state/redis_bus.py",
        "            return self._all_at(_place(place))\n",
        "            return True\n",
        _UNHEARD,
    ),
    Mutant(
        "services: what was said of an erased user stays in the stream",
        "serving/state/redis_bus.py",
        "                if of_them and",
        "                if False and",
        _ERASED,
    ),
    Mutant(
        "services: pages of an erased user stay",
        "serving/state/company.py",
        '[f"page:{_digest(who)}:" for who in people]',
        "[]",
        _ERASED,
    ),
    Mutant(
        "services: changed items are told to nobody",
        "serving/state/company.py",
        'self._bus.tell_now("items", ids)',
        "pass",
        _CHANGED,
    ),
    Mutant(
        "services: two change items at once",
        "serving/state/redis_bus.py",
        "                held = lock.acquire(blocking_timeout=LOCK_S)\n                if not held:",
        "                held = False\n                if held:",
        _BOTH,
    ),
    Mutant(
        "services: each signs cursors for itself",
        "serving/state/engine.py",
        "Pages(self.bus.secret)",
        "Pages(os.urandom(32))",
        _PAGES,
    ),
    Mutant(
        "services: pages stay where they were made",
        "serving/state/company.py",
        "engine.pages.elsewhere = self._page",
        "pass",
        _PAGES,
    ),
    Mutant(
        "services: what was shown is told to nobody",
        "serving/state/company.py",
        'self._bus.gather("served", [who, self._names(numbers), at_s])',
        "pass",
        _SHOWN,
    ),
    Mutant(
        "services: two carry out one request",
        "serving/state/redis_bus.py",
        "self.name, nx=True, px=",
        "self.name, nx=False, px=",
        _KEY,
    ),
    Mutant(
        "services: figures are of one alone",
        "serving/state/company.py",
        'self._bus.keep(f"figures:{self._bus.name}", self.figures, FIGURES_S)',
        "pass",
        _FIGURES,
    ),
    Mutant(
        "services: a lost message is not noticed",
        "serving/state/redis_bus.py",
        "lost = self._counts.get(sender, n - 1) != n - 1",
        "lost = False",
        _LOST,
    ),
    Mutant(
        "services: what was missed of items is not read again",
        "serving/state/company.py",
        "        self._take({item_id: row for item_id, row in told.items() if row != here.get(item_id)})\n",
        "",
        _LOST,
    ),
    Mutant(
        "services: a worker outlives the command",
        "serving/server.py",
        "        while os.getppid() == self.parent:\n",
        "        while True:\n",
        _WORKERS,
    ),
    Mutant(
        "services: the number of an erased event is given again",
        "store/postgres.py",
        'db.execute("INSERT INTO erased VALUES (%s)", (last,))',
        "pass",
        _NUMBERS,
    ),
    Mutant(
        "services: a key of who asked is trusted after another wrote",
        "serving/decisions/file.py",
        "        if version != self._version:\n",
        "        if False:\n",
        _LOG,
    ),
]
