// The combobox: search customers by id, with the keyboard or the pointer (WAI-ARIA 1.2 pattern).

import { byId, make } from "./view.js";
import { number, words } from "./words.js";

const WAIT_MS = 120;

export function chooser(search, onChosen, onTrouble) {
  const input = byId("who");
  const list = byId("found");
  let ids = [];
  let at = -1;
  let timer = 0;
  let asked = 0;

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const mark = (place) => {
    at = place;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    const option = list.children[at];
    if (!option) return;
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };

  const choose = (id) => {
    close();
    input.value = id;
    onChosen(id);
  };

  const option = (id, text, aside, place) => {
    const line = make("li", "", text);
    line.id = `found-${place}`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    if (aside) line.append(make("span", "", aside));
    line.addEventListener("pointerdown", (event) => event.preventDefault());
    line.addEventListener("click", () => choose(id));
    return line;
  };

  const open = async () => {
    const mine = ++asked;
    const query = input.value.trim();
    try {
      const found = await search(query);
      if (mine !== asked || document.activeElement !== input) return;
      ids = found.users.map((user) => user.user_id);
      const lines = found.users.map((user, i) => option(user.user_id, user.user_id, words().events(number(user.n_events)), i));
      if (query && !ids.includes(query)) {
        ids.push(query);
        lines.push(option(query, words().stranger(query), "", lines.length));
      }
      if (!lines.length) lines.push(make("li", "none", words().nobody));
      list.replaceChildren(...lines);
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      mark(-1);
    } catch (error) {
      onTrouble(error);
    }
  };

  const keys = {
    ArrowDown: () => (list.hidden ? open() : mark(Math.min(at + 1, ids.length - 1))),
    ArrowUp: () => mark(Math.max(at - 1, 0)),
    Enter: () => {
      if (list.hidden) return;
      const typed = input.value.trim();
      const id = at >= 0 ? ids[at] : ids.includes(typed) ? typed : ids[0];
      if (id !== undefined) choose(id);
    },
    Escape: close,
  };

  input.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(open, WAIT_MS);
  });
  input.addEventListener("focus", () => {
    input.select();
    input.value = "";
    open();
  });
  input.addEventListener("blur", () => {
    close();
    clearTimeout(timer);
    input.value = input.dataset.chosen ?? "";
  });
}
