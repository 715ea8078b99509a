// What is seen: elements made from answers. Text goes in as text, never as markup.

import { day, money, number, percent, reasonTexts, words } from "./words.js";

const SHOWN_IN_BASKET = 6;
const BASKETS = 12;

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export const byId = (id) => document.getElementById(id);

// -- history ---------------------------------------------------------------------------------------

export function showHistory(history, freshSince) {
  const place = byId("history");
  const baskets = inBaskets(history.events).slice(0, BASKETS);
  place.replaceChildren(...baskets.map((events) => basket(events, freshSince)));
  if (!baskets.length) place.append(make("p", "empty", words().history_empty));
  const facts = Object.entries(history.attributes).flatMap(([name, value]) => [
    make("dt", "", readable(name)),
    make("dd", "", value),
  ]);
  byId("attributes").replaceChildren(...facts);
}

function inBaskets(events) {
  const baskets = [];
  for (const event of events) {
    const last = baskets.at(-1);
    const same = last && last[0].timestamp === event.timestamp && last[0].event === event.event;
    if (same) last.push(event);
    else baskets.push([event]);
  }
  return baskets;
}

function basket(events, freshSince) {
  const first = events[0];
  const box = make("section", "basket");
  if (freshSince && first.timestamp >= freshSince) box.classList.add("fresh");
  const head = make("h3", "", day(first.timestamp));
  const did = words().did[first.event] || first.event;
  head.append(make("span", "", events.length > 1 ? words().products(events.length) : did));
  const lines = events.map((event) => make("li", "", event.title || event.item_id));
  lines.forEach((line) => (line.title = line.textContent));
  const list = make("ul");
  list.append(...lines.slice(0, SHOWN_IN_BASKET));
  box.append(head, list);
  if (lines.length > SHOWN_IN_BASKET) {
    const more = make("details");
    const rest = make("ul");
    rest.append(...lines.slice(SHOWN_IN_BASKET));
    more.append(make("summary", "", words().more(lines.length - SHOWN_IN_BASKET)), rest);
    box.append(more);
  }
  return box;
}

function readable(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// -- the list --------------------------------------------------------------------------------------

// Draws the answer; `before` (an earlier answer for the same user) marks what moved. Returns how many
// items are new, went up and went down.
export function showItems(answer, before, event, onEvent) {
  const place = byId("items");
  const tops = new Map([...place.children].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
  const earlier = new Map((before?.items ?? []).map((item) => [item.item_id, item]));
  const moves = { fresh: 0, up: 0, down: 0 };
  const rows = answer.items.map((item) => {
    const move = before ? moveOf(item, earlier.get(item.item_id)) : null;
    if (move) moves[move.kind] += 1;
    return itemRow(item, earlier.get(item.item_id), move, event, onEvent);
  });
  place.replaceChildren(...rows);
  if (before) slide(rows, tops);
  if (!rows.length) place.append(make("li", "empty", words().list_empty));
  return moves;
}

function moveOf(item, old) {
  if (!old) return { kind: "fresh", tag: words().fresh, spoken: words().fresh };
  const by = old.rank - item.rank;
  if (by > 0) return { kind: "up", tag: words().up(by), spoken: words().up_spoken(by) };
  if (by < 0) return { kind: "down", tag: words().down(-by), spoken: words().down_spoken(-by) };
  return null;
}

function itemRow(item, old, move, event, onEvent) {
  const row = make("li", move && move.kind !== "down" ? "item moved" : "item");
  row.dataset.item = item.item_id;
  const main = make("div");
  const title = make("button", "title", item.title || item.item_id);
  title.type = "button";
  title.title = words().click_title;
  title.addEventListener("click", () => onEvent(item, "click"));
  main.append(title);
  if (item.price !== null) main.append(make("span", "price", money(item.price)));
  if (move) {
    const tag = make("span", `tag ${move.kind}`, move.tag);
    tag.setAttribute("aria-label", move.spoken);
    tag.setAttribute("role", "img");
    main.append(tag);
  }
  if (item.category && !holds(item.title, item.category)) main.append(make("p", "detail", item.category));
  if (item.reasons.length) {
    const why = make("ul", "why");
    why.append(...reasonTexts(item.reasons).map((text) => make("li", "", text)));
    main.append(why);
  }
  row.append(make("span", "rank", number(item.rank)), main, chance(item, old));
  const label = words().done[event];
  if (label) {
    const did = make("button", "quiet", label);
    did.type = "button";
    did.setAttribute("aria-label", `${label}: ${item.title || item.item_id}`);
    did.addEventListener("click", () => onEvent(item, event));
    row.append(did);
  }
  return row;
}

function chance(item, old) {
  const box = make("div", "chance");
  if (item.probability === null) return box;
  const text = make("p", "", percent(item.probability));
  const change = old && old.probability !== null ? 100 * (item.probability - old.probability) : 0;
  if (Math.abs(change) >= 1) {
    const points = make("span", "", `${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(0)}`);
    points.title = words().points;
    text.append(points);
  }
  const track = make("div", "track");
  const bar = make("div", "bar");
  bar.style.width = `${100 * (old?.probability ?? item.probability)}%`;
  requestAnimationFrame(() => requestAnimationFrame(() => (bar.style.width = `${100 * item.probability}%`)));
  track.append(bar);
  box.append(text, track);
  return box;
}

// Rows glide from where they were (FLIP); new ones fade in.
function slide(rows, tops) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const row of rows) {
    const from = tops.get(row.dataset.item);
    const by = from === undefined ? 0 : from - row.getBoundingClientRect().top;
    if (from === undefined) row.animate([{ opacity: 0 }, { opacity: 1 }], 500);
    else if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 450, easing: "ease-out" });
  }
}

// Whether a title says the category already: half of its words are enough.
function holds(title, category) {
  const parts = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const said = new Set(parts(title));
  const wanted = parts(category);
  return 2 * wanted.filter((word) => said.has(word)).length >= wanted.length;
}

// -- around it -------------------------------------------------------------------------------------

export function showShop(shop) {
  const parts = [shop.shop, shop.clock.historic ? words().clock(day(shop.clock.now, true)) : ""];
  byId("shop").textContent = parts.filter(Boolean).join(" · ");
  const model = shop.model ? words().model(shop.model, shop.stage, shop.model_version) : "";
  byId("model").textContent = model;
  byId("note").textContent = shop.data_note;
  showBanner(shop);
}

const stepOf = (training) => Math.min(training.done + 1, training.of);

function showBanner(shop) {
  const banner = byId("banner");
  const said = [];
  if (shop.stage === "quick") said.push(words().quick);
  if (shop.training) said.push(words().training(stepOf(shop.training), shop.training.of, shop.training.step));
  said.push(...shop.problems.map((problem) => problem.charAt(0).toUpperCase() + problem.slice(1) + "."));
  banner.hidden = !said.length;
  banner.classList.toggle("warn", shop.degraded);
  byId("banner-text").textContent = said.join(" ");
  const progress = byId("banner-progress");
  progress.hidden = !shop.training;
  if (shop.training) {
    progress.max = shop.training.of;
    progress.value = shop.training.done + 0.5;
    progress.setAttribute("aria-label", shop.training.step);
  }
}
