// The page: one customer, what they did, what comes next, and what a click changes.

import * as api from "./api.js";
import { chooser } from "./chooser.js";
import { byId, showHistory, showItems, showShop } from "./view.js";
import { current, percent, toggle, words } from "./words.js";

const LOOK_MS = 4000;

const state = { user: null, shop: null, answer: null, before: null, history: null, after: null, freshSince: null };
let loading = 0;

function trouble(error) {
  const place = byId("trouble");
  place.hidden = !error;
  if (!error) return;
  byId("key-form").hidden = error.status !== 401;
  place.textContent = error.status ? error.message : words().away;
}

// Asks for a customer's history and list; an answer that was overtaken by a later wish is dropped.
async function load(user, before = null, after = null) {
  const mine = ++loading;
  byId("items").classList.add("busy");
  try {
    const [history, answer] = await Promise.all([api.history(user), api.recommend(user)]);
    if (mine !== loading) return;
    Object.assign(state, { user, history, answer, before, after });
    byId("who").dataset.chosen = user;
    if (document.activeElement !== byId("who")) byId("who").value = user;
    window.history.replaceState(null, "", `#${encodeURIComponent(user)}`);
    trouble(null);
    draw();
  } catch (error) {
    trouble(error);
  } finally {
    byId("items").classList.remove("busy");
  }
}

function choose(user) {
  state.freshSince = null;
  load(user);
}

async function record(item, event) {
  try {
    const at = state.shop.clock.now;
    await api.record(state.user, item.item_id, event, state.answer.recommendation_id);
    state.freshSince = state.freshSince ?? at;
    await load(state.user, state.answer, { item, title: item.title || item.item_id, event });
  } catch (error) {
    trouble(error);
  }
}

function draw() {
  const say = words();
  document.documentElement.lang = current() === "zh" ? "zh-CN" : "en";
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = say[place.dataset.word];
  byId("language").textContent = say.other;
  byId("language").lang = current() === "zh" ? "en" : "zh-CN";
  byId("who").placeholder = say.placeholder;
  if (!state.shop) return;
  showShop(state.shop);
  const event = state.shop.event;
  byId("next-title").textContent = say.next[event] ?? say.next.default;
  if (!state.answer) return;
  byId("next-about").textContent = about();
  showHistory(state.history, state.freshSince);
  const moves = showItems(state.answer, state.before, event, record);
  byId("changed").textContent = state.after ? changed(moves) : "";
}

function about() {
  const { answer, shop } = state;
  if (shop.stage === "none") return words().no_model;
  const how = shop.calibrated ? words().chance(shop.horizon_days) : words().order;
  return answer.filled_by === "popular for strangers" ? `${words().unknown_user} ${how}` : how;
}

function changed(moves) {
  const { item, title, event, better } = state.after;
  if (better) return words().better;
  const did = words().did[event] ?? event;
  const any = moves.fresh + moves.up + moves.down;
  if (any) return words().changed(title, did, moves.fresh, moves.up, moves.down);
  const now = state.answer.items.find((one) => one.item_id === item.item_id);
  if (!now || now.probability === null || item.probability === null) return words().unchanged(title, did);
  return words().chance_moved(title, did, percent(item.probability), percent(now.probability));
}

// The banner follows training; a model that was swapped in answers again for the same customer.
async function look() {
  try {
    const shop = await api.shop();
    const swapped = state.shop && state.shop.model_version !== shop.model_version;
    state.shop = shop;
    trouble(null);
    if (swapped && state.user) await load(state.user, state.answer, { better: true });
    else showShop(shop);
  } catch (error) {
    trouble(error);
  } finally {
    setTimeout(look, LOOK_MS);
  }
}

async function begin() {
  try {
    state.shop = await api.shop();
    draw();
    const linked = decodeURIComponent(window.location.hash.slice(1));
    const first = linked || (await api.users("", 1)).users[0]?.user_id;
    trouble(null);
    if (first) await load(first);
    else byId("next-about").textContent = words().shop_empty;
  } catch (error) {
    trouble(error);
  }
}

byId("language").addEventListener("click", () => {
  toggle();
  state.before = state.after = null;
  draw();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.keepKey(byId("key").value.trim());
  byId("key-form").hidden = true;
  begin();
});
window.addEventListener("hashchange", () => choose(decodeURIComponent(window.location.hash.slice(1))));
chooser(api.users, choose, trouble);
draw();
await begin();
setTimeout(look, LOOK_MS);
