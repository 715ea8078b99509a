// The service, asked over HTTP. Every refusal becomes an Error that says what it is in words.

const KEY = "intently-key";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function ask(path, body) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { headers, method: body === undefined ? "GET" : "POST", body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, [told.detail, told.hint].filter(Boolean).join(". "));
  return told;
}

export const shop = () => ask("/v1/shop");

export const users = (query, n = 12) => ask(`/v1/users?${new URLSearchParams({ query, n })}`);

export const history = (user, n = 200) => ask(`/v1/users/${encodeURIComponent(user)}/history?n=${n}`);

export const recommend = (user, n = 10) =>
  ask("/v1/recommendations", { user_id: user, n, explain: true });

export const record = (user, item, event, recommendation) =>
  ask("/v1/events", {
    user_id: user,
    item_id: item,
    event,
    event_id: crypto.randomUUID ? crypto.randomUUID() : `page-${Date.now()}-${Math.random()}`,
    recommendation_id: recommendation,
  });
