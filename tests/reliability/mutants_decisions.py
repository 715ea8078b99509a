"""Faults in the decision log, in what is told from it, and in making an answer again."""

from __future__ import annotations

from mutants import Mutant

_LOG, _WHY = "tests/serving/test_decision_log.py", "tests/serving/test_why.py"
_ARMS = "tests/serving/test_experiments.py"
_SIGNED_IN = "test_a_guest_who_signed_in_is_in_the_users_arm_and_a_page_stays_in_the_one_it_was_made_in"
_VERDICT = "tests/serving/test_verdict.py"
_REPLAY = "tests/serving/test_replay_decision.py"

MUTANTS = [
    Mutant(
        "decisions: a full queue makes the answer wait",
        "serving/decisions/log.py",
        "            self.lost += 1\n            self._lost_s = self._wall()\n            return\n",
        "            self.flush()\n",
        (f"{_LOG}::test_a_full_queue_loses_and_counts_but_never_waits",),
    ),
    Mutant(
        "decisions: what is lost is not said",
        "serving/decisions/log.py",
        "        if self.lost and self._wall() - self._lost_s < RECENT_S:",
        "        if False:",
        (f"{_LOG}::test_a_full_queue_loses_and_counts_but_never_waits",),
    ),
    Mutant(
        "decisions: one that cannot be encoded takes its commit with it",
        "serving/decisions/log.py",
        "            if file is None or self._trouble or not self._added(file, [decision]):",
        "            if True:",
        (f"{_LOG}::test_one_decision_that_cannot_be_encoded_harms_no_other",),
    ),
    Mutant(
        "decisions: a damaged file ends the log",
        "serving/decisions/log.py",
        "                self._move_aside()\n            else:",
        "                return None\n            else:",
        (f"{_LOG}::test_a_damaged_file_is_kept_aside_and_a_new_one_is_begun",),
    ),
    Mutant(
        "decisions: erased rows stay in the free pages",
        "serving/decisions/file.py",
        '"secure_delete=ON"',
        '"secure_delete=OFF"',
        (f"{_LOG}::test_nothing_of_an_erased_user_is_left_in_the_file",),
    ),
    Mutant(
        "decisions: erased rows stay in the write-ahead file",
        "serving/decisions/file.py",
        'self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")',
        "pass",
        (f"{_LOG}::test_nothing_of_an_erased_user_is_left_in_the_file",),
    ),
    Mutant(
        "decisions: what waits survives an erasure",
        "serving/decisions/log.py",
        "            for _ in range(0, len(self._waiting), AT_ONCE):\n                self._write(file)\n"
        "            for order, outcome in orders:\n                _done(order, outcome, file)\n",
        "            for order, outcome in orders:\n                _done(order, outcome, file)\n"
        "            for _ in range(0, len(self._waiting), AT_ONCE):\n                self._write(file)\n",
        (f"{_LOG}::test_nothing_of_an_erased_user_is_left_in_the_file",),
    ),
    Mutant(
        "decisions: an erased user stays in the log",
        "serving/state/engine.py",
        "        self.decisions.erase([user_id, *guests])\n",
        "",
        (f"{_LOG}::test_a_user_who_is_erased_is_gone_from_the_log",),
    ),
    Mutant(
        "decisions: the size has no bound",
        "serving/decisions/file.py",
        "                    if not n and self.size() > most_bytes:",
        "                    if False:",
        (f"{_LOG}::test_the_oldest_go_when_the_file_grows_too_large",),
    ),
    Mutant(
        "decisions: numbers of an earlier run are read with the names of this one",
        "serving/decisions/file.py",
        'WHERE era = ? AND first >= ? ORDER BY first",\n                (era, len(ids)),',
        'WHERE era >= ? AND first >= ? ORDER BY era DESC LIMIT 1",\n                (0, len(ids)),',
        (f"{_LOG}::test_a_restart_reads_decisions_of_the_runs_before",),
    ),
    Mutant(
        "why: a reason is told without its check",
        "serving/answer/why.py",
        "        if after_s is not None and after_s < score:",
        "        if after_s is not None:",
        (
            f"{_WHY}::test_the_first_reason_of_every_shown_item_holds_for_a_calibrated_model",
            f"{_WHY}::test_a_reason_that_does_not_hold_is_not_told",
        ),
    ),
    Mutant(
        "why: the history of now explains an answer of then",
        "serving/answer/why.py",
        "        if len(then.time_s) == one.n_history and checksum(then.time_s) == one.history:",
        "        if True:",
        (f"{_WHY}::test_a_history_that_is_gone_explains_nothing",),
    ),
    Mutant(
        "why: what a stage took out is told as never named",
        "serving/answer/fate.py",
        "    if taken:\n",
        "    if False:\n",
        (f"{_WHY}::test_what_a_filter_or_a_rule_took_out_is_told_with_its_name",),
    ),
    Mutant(
        "replay: events since then count",
        "serving/answer/replay.py",
        "    began, past.until = past.until, one.row\n",
        "    began, past.until = past.until, 1 << 60\n",
        (f"{_REPLAY}::test_every_kind_of_list_comes_out_again",),
    ),
    Mutant(
        "replay: what had been shown is forgotten",
        "serving/answer/replay.py",
        "            _shown_before(engine, one, reader)\n",
        "",
        (f"{_REPLAY}::test_every_kind_of_list_comes_out_again",),
    ),
    Mutant(
        "replay: the rules are those of now",
        "serving/answer/replay.py",
        '"rules": one.rules}',
        '"rules": []}',
        (f"{_REPLAY}::test_rules_are_those_of_then",),
    ),
    Mutant(
        "replay: it is done in the shop's own folder",
        "serving/answer/replay.py",
        "        home = Path(folder)\n",
        "        home = settings.home\n",
        (f"{_REPLAY}::test_a_replay_writes_nothing_in_the_shop",),
    ),
    Mutant(
        "experiments: an arm is drawn anew in every process",
        "serving/state/experiments.py",
        "        at = int.from_bytes(digest",
        "        digest = blake2b(digest, digest_size=8, salt=str(id(self)).encode()[:16]).digest()\n"
        "        at = int.from_bytes(digest",
        (f"{_ARMS}::test_a_restart_leaves_everyone_in_their_arm",),
    ),
    Mutant(
        "experiments: the arm changes with the time",
        "serving/state/experiments.py",
        "                return one.of(who)\n",
        '                return one.of(f"{who} {at_s}")\n',
        (f"{_ARMS}::test_an_arm_has_its_settings_and_every_answer_names_it",),
    ),
    Mutant(
        "experiments: the same users are in the same arms of every experiment",
        "serving/state/experiments.py",
        'f"{self.name}\\0{who}"',
        "who",
        (f"{_ARMS}::test_users_fall_into_arms_by_their_shares_and_independently_of_other_experiments",),
    ),
    Mutant(
        "experiments: a guest who signed in stays in the session's arm",
        "serving/state/engine.py",
        "        user = view.user if view.user >= 0 else memory.guests.named(view.who)\n",
        "        user = -1\n",
        (f"{_ARMS}::{_SIGNED_IN}",),
    ),
    Mutant(
        "experiments: a page is said to be of the arm that who asks is in by now",
        "serving/answer/recommend.py",
        "        scenario = engine.experiments.under(usual, page.arm)\n",
        "        page.arm = drafted(engine, view, asked, usual).arm\n"
        "        scenario = engine.experiments.under(usual, page.arm)\n",
        (f"{_ARMS}::{_SIGNED_IN}",),
    ),
    Mutant(
        "experiments: an erased user stays in the lists of sessions that were in their arm",
        "serving/state/engine.py",
        "        guests += self.memory.guests.sessions(user)",
        "        guests += []",
        (f"{_ARMS}::test_nothing_of_an_erased_user_is_left_where_a_session_was_in_their_arm",),
    ),
    Mutant(
        "experiments: the answer names an arm whose settings it does not have",
        "serving/answer/recommend.py",
        "    scenario = experiments.under(usual, arm)\n",
        "    scenario = usual\n",
        (f"{_ARMS}::test_an_arm_has_its_settings_and_every_answer_names_it",),
    ),
    Mutant(
        "experiments: a decision does not keep its arm",
        "serving/answer/kept.py",
        '        facts["experiment"] = draft.arm\n',
        "        pass\n",
        (
            f"{_ARMS}::test_the_log_and_the_metrics_know_the_arm",
            f"{_REPLAY}::test_a_list_of_an_arm_comes_out_under_the_settings_of_that_arm",
        ),
    ),
    Mutant(
        "experiments: lists are counted as if each were a user",
        "serving/answer/verdict.py",
        "for arm, _ in set(kept.values())",
        "for arm, _ in list(kept.values())",
        (f"{_VERDICT}::test_a_user_counts_once_however_often_they_click_and_are_asked",),
    ),
    Mutant(
        "experiments: the split is judged as if all shares were the same",
        "serving/answer/verdict.py",
        "due = [sum(seen) * part / sum(shares.values()) for part in shares.values()]",
        "due = [sum(seen) / len(shares) for _ in shares]",
        (f"{_VERDICT}::test_a_split_that_is_not_by_the_shares_is_noticed",),
    ),
]
