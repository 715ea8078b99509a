"""Faults in what stands between a stranger and the engine."""

from __future__ import annotations

from mutants import Mutant

_KEYS, _ROLES = "tests/serving/test_keys.py", "tests/reliability/test_roles.py"
_LIMITS, _HOSTILE = "tests/reliability/test_limits.py", "tests/reliability/test_hostile.py"

_NEAR = (f"{_KEYS}::test_a_key_opens_nothing_once_it_is_over_and_a_near_miss_never_does",)
_TOKEN = (f"{_KEYS}::test_a_token_that_is_over_changed_or_signed_by_another_is_refused",)
_EVERY = (f"{_KEYS}::test_every_candidate_is_compared_whichever_is_right",)
_CLEAR = (f"{_KEYS}::test_no_key_is_kept_or_listed_in_clear",)
_MATRIX = (f"{_ROLES}::test_each_role_is_answered_by_its_routes_and_refused_by_all_others",)
_OTHERS = (f"{_ROLES}::test_no_browser_route_answers_for_another_session",)
_SILENT = (f"{_ROLES}::test_a_route_that_says_nothing_is_for_administration",)
_GUESSES = (f"{_LIMITS}::test_an_address_that_guesses_keys_is_blocked_even_when_it_guesses_right",)
_LONGER = (f"{_LIMITS}::test_each_block_is_longer_and_ends",)
_SESSION = (f"{_LIMITS}::test_one_session_cannot_ask_without_end_and_others_are_served",)
_BUSY = (f"{_LIMITS}::test_more_work_than_can_be_done_gets_503_and_health_still_answers",)
_ROOM = (f"{_LIMITS}::test_half_open_connections_make_room_for_those_that_ask",)
_LARGE = (f"{_LIMITS}::test_a_body_of_60_mb_is_refused_without_being_held",)
_STEP = (f"{_LIMITS}::test_an_answer_given_before_the_body_does_not_put_a_connection_out_of_step",)
_PAGES = (f"{_LIMITS}::test_only_pages_of_the_shop_may_ask_from_a_browser",)
_CORPUS = (f"{_HOSTILE}::test_bad_requests_to_every_route_are_refused_in_words_and_change_nothing",)
_NO_HTTP = (f"{_HOSTILE}::test_what_is_no_request_gets_a_short_4xx_at_most",)
_SECRETS = (f"{_HOSTILE}::test_no_secret_is_written_to_logs_errors_or_figures",)

MUTANTS = [
    Mutant(
        "gate: the key is logged",
        "serving/http/keyring.py",
        "        now_s = self._now()\n        if not 0.0",
        '        log.warning("%s", shown)\n        now_s = self._now()\n        if not 0.0',
        _SECRETS,
    ),
    Mutant(
        "gate: the comparison of keys is always true",
        "serving/http/keyring.py",
        "if hmac.compare_digest(given, kept):",
        "if hmac.compare_digest(given, kept) or given:",
        _NEAR,
    ),
    Mutant(
        "gate: the comparison ends at the first that fits",
        "serving/http/keyring.py",
        "                found, own = key, key is None\n",
        "                found, own = key, key is None\n                break\n",
        _EVERY,
    ),
    Mutant(
        "gate: a token's signature is not checked",
        "serving/http/keyring.py",
        "if not token.signed_by(secret) or key is None:",
        "if key is None:",
        _TOKEN,
    ),
    Mutant(
        "gate: keys do not expire",
        "serving/http/keys.py",
        'return "live" if self.expires_s is None or now_s < self.expires_s else "expired"',
        'return "live"',
        _NEAR,
    ),
    Mutant(
        "gate: everyone on the machine may read the file of keys",
        "serving/http/keys.py",
        "os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)",
        "os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)",
        _CLEAR,
    ),
    Mutant(
        "gate: any key may ask any route",
        "serving/http/gate.py",
        "if not caller.may(entry.scope):",
        "if not caller.may(entry.scope) and not caller:",
        _MATRIX,
    ),
    Mutant(
        "gate: a route that says nothing is for servers",
        "serving/http/access.py",
        'scopes.get(route.path, "admin")',
        'scopes.get(route.path, "server")',
        _SILENT,
    ),
    Mutant(
        "gate: a browser may name another's session",
        "serving/shapes/caller.py",
        "if named is not None and named != own:",
        "if named is not None and named != own and not self.bound:",
        _OTHERS,
    ),
    Mutant(
        "gate: the short way of an event lets browsers pass unchecked",
        "serving/http/gate.py",
        'return refused is None and not scope["caller"].bound',
        "return refused is None",
        _OTHERS,
    ),
    Mutant(
        "gate: wrong keys are not counted",
        "serving/http/gate.py",
        "                self._guesses.wrong(address, now_s)\n",
        "                pass\n",
        _GUESSES,
    ),
    Mutant(
        "gate: each block is as short as the first",
        "serving/http/limits.py",
        "BLOCK_S * 2.0**found.blocks",
        "BLOCK_S",
        _LONGER,
    ),
    Mutant(
        "gate: a session may ask without end",
        "serving/http/gate.py",
        "return self._addresses.take(address, now_s) or self._sessions.take(own, now_s)",
        "return self._addresses.take(address, now_s)",
        _SESSION,
    ),
    Mutant(
        "gate: any number of requests is begun",
        "serving/http/gate.py",
        "if (late or self._busy >= self._doors.limits.at_once) and not entry.vital:",
        "if late and not entry.vital:",
        _BUSY,
    ),
    Mutant(
        "gate: what is answered at once may take any time",
        "serving/http/gate.py",
        "return now_s - self._turn_s > TURN_S",
        "return now_s < 0",
        (f"{_LIMITS}::test_what_comes_together_is_worked_on_for_so_long_and_the_rest_comes_again",),
    ),
    Mutant(
        "gate: health and figures wait like everything else",
        "serving/app.py",
        'VITAL: Final = ("/healthz", "/readyz", "/metrics")',
        "VITAL: Final = ()",
        _BUSY,
    ),
    Mutant(
        "gate: half-open connections keep their places",
        "serving/http/connection.py",
        "        min(idle, key=lambda one: one._idle_since_s)._end()\n        return True",
        "        return False",
        _ROOM,
    ),
    Mutant(
        "gate: a body may have any size",
        "serving/http/body.py",
        "                if size > MAX_BYTES:",
        "                if size < 0:",
        _LARGE,
    ),
    Mutant(
        "gate: a connection goes on though the announced body may never come",
        "serving/http/connection.py",
        "            if self.expect_100_continue:",
        "            if self.expect_100_continue and self._whole:",
        _STEP,
    ),
    Mutant(
        "gate: pages of any origin may ask",
        "serving/http/gate.py",
        'entry.scope != "browser" or head.origin not in self._doors.origins:',
        'entry.scope != "browser":',
        _PAGES,
    ),
    Mutant(
        "gate: names that the sender made up are repeated",
        "serving/shapes/faults.py",
        'if isinstance(part, int) or part in names else "*"',
        "if True else str()",
        _CORPUS,
    ),
    Mutant(
        "gate: a head that comes in one piece may have any size",
        "serving/http/connection.py",
        '            raise ValueError("too large")',
        "            return",
        _NO_HTTP,
    ),
]
