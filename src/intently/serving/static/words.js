// Everything the page says, in two languages, and how it writes numbers and dates.

const WORDS = {
  en: {
    other: "中文",
    choose: "Customer",
    placeholder: "Search by id",
    events: (n) => `${n} events`,
    nobody: "Nobody with this id",
    stranger: (id) => `“${id}” as a new customer`,
    history: "What they did",
    history_empty: "Nothing yet. Click a product on the list and it will follow.",
    products: (n) => (n === 1 ? "1 product" : `${n} products`),
    more: (n) => `and ${n} more`,
    next: { purchase: "What they will buy next", default: "What they will want next" },
    chance: (days) => `Chance within ${days} days. Click a product, or mark it as bought, and the list follows at once.`,
    order: "An order without probabilities for now. Click a product, or mark it as bought, and the list follows at once.",
    unknown_user: "Nothing is known of this customer yet, so these are the products that most people take.",
    no_model: "No model is trained yet. These are the products that most people took lately.",
    list_empty: "There is nothing to recommend yet. Import events, then train a model.",
    shop_empty: "No customer yet. Import events first: intently import events.csv",
    done: { purchase: "Bought", cart_add: "To cart", rate: "Rated", comment: "Commented", share: "Shared", view: "Viewed" },
    did: { purchase: "bought", click: "clicked", view: "viewed", cart_add: "put in cart", rate: "rated", comment: "commented on", share: "shared" },
    click_title: "Record a click on this product",
    fresh: "new",
    up: (n) => `▲ ${n}`,
    down: (n) => `▼ ${n}`,
    points: "percentage points since the last change",
    up_spoken: (n) => `up by ${n}`,
    down_spoken: (n) => `down by ${n}`,
    changed: (title, did, fresh, up, down) => `After “${title}” was ${did}: ${fresh} new, ${up} up, ${down} down.`,
    unchanged: (title, did) => `“${title}” was ${did}. The order stays; the chances may have changed.`,
    chance_moved: (title, did, from, to) => `“${title}” was ${did}: its chance went from ${from} to ${to}. The order stays.`,
    better: "A better model answers now.",
    quick: "This is the quick model.",
    training: (done, of, step) => `Full training is running: step ${done} of ${of}, ${step}.`,
    clock: (date) => `this shop’s clock stands at ${date}`,
    model: (name, stage, version) => `Model ${name} (${stage}), version ${version}.`,
    away: "The service does not answer. Trying again …",
    key_label: "This service needs its key",
    key_send: "Open",
    reasons: {
      habit: (v) => `${v.bought === 0 ? "met" : "bought"} ${v.times === 1 ? "once" : `${v.times} times`}, last ${ago.en(v.last_days)}`,
      rhythm: (v) => `usually every ${v.gap_days} days`,
      kind: (v) => v.bought === 0 ? `met its category ${v.times} times` : `${v.times} purchases from its category`,
    },
  },
  zh: {
    other: "English",
    choose: "顾客",
    placeholder: "输入编号搜索",
    events: (n) => `${n} 条行为`,
    nobody: "没有这个编号的顾客",
    stranger: (id) => `把“${id}”当作新顾客`,
    history: "过去的行为",
    history_empty: "还没有记录。点击列表中的商品，列表会随之变化。",
    products: (n) => `${n} 件商品`,
    more: (n) => `还有 ${n} 件`,
    next: { purchase: "接下来会买什么", default: "接下来会对什么感兴趣" },
    chance: (days) => `${days} 天内发生的概率。点击商品，或标记为已购买，列表会立刻变化。`,
    order: "目前只有顺序，还没有概率。点击商品，或标记为已购买，列表会立刻变化。",
    unknown_user: "对这位顾客还一无所知，下面是大多数人会买的商品。",
    no_model: "还没有训练好的模型，下面是近期最受欢迎的商品。",
    list_empty: "还没有可以推荐的商品。请先导入行为数据，再训练模型。",
    shop_empty: "还没有顾客。请先导入行为数据：intently import events.csv",
    done: { purchase: "已购买", cart_add: "加购", rate: "评分", comment: "评论", share: "分享", view: "浏览" },
    did: { purchase: "购买", click: "点击", view: "浏览", cart_add: "加入购物车", rate: "评分", comment: "评论", share: "分享" },
    click_title: "记录一次点击",
    fresh: "新",
    up: (n) => `▲ ${n}`,
    down: (n) => `▼ ${n}`,
    points: "与上次相比的百分点变化",
    up_spoken: (n) => `上升 ${n} 位`,
    down_spoken: (n) => `下降 ${n} 位`,
    changed: (title, did, fresh, up, down) => `${did}“${title}”之后：新增 ${fresh}，上升 ${up}，下降 ${down}。`,
    unchanged: (title, did) => `已记录${did}“${title}”。顺序不变，概率可能有变化。`,
    chance_moved: (title, did, from, to) => `${did}“${title}”之后：它的概率从 ${from} 变为 ${to}，顺序不变。`,
    better: "现在由更好的模型作答。",
    quick: "当前是快速模型。",
    training: (done, of, step) => `完整训练进行中：第 ${done} 步，共 ${of} 步（${step}）。`,
    clock: (date) => `这家店的时钟停在 ${date}`,
    model: (name, stage, version) => `模型 ${name}（${stage}），版本 ${version}。`,
    away: "服务没有回应，正在重试……",
    key_label: "访问此服务需要密钥",
    key_send: "进入",
    reasons: {
      habit: (v) => `${v.bought === 0 ? "看过或买过" : "买过"} ${v.times} 次，最近一次在${ago.zh(v.last_days)}`,
      rhythm: (v) => `大约每 ${v.gap_days} 天买一次`,
      kind: (v) => `同类商品买过 ${v.times} 次`,
      popular: () => "近期很多人购买",
      staple: (v) => `${v.percent}% 的买家会回购`,
      alike: () => "相似的顾客也买",
      price: (v) => `比平时便宜 ${v.percent}%`,
      together: () => "常与买过的商品搭配",
      next: () => "常接在最近的购买之后",
      text: () => "与买过的商品描述相近",
      popular_here: () => "本店近期最受欢迎",
    },
  },
};

const ago = {
  en: (days) => (days < 1 ? "today" : days === 1 ? "yesterday" : `${days} days ago`),
  zh: (days) => (days < 1 ? "今天" : days === 1 ? "昨天" : ` ${days} 天前`),
};

const LANGUAGE = "intently-language";
const asked = localStorage.getItem(LANGUAGE) || (navigator.language || "en").slice(0, 2);
let language = asked === "zh" ? "zh" : "en";

export const words = () => WORDS[language];

export const current = () => language;

export function toggle() {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem(LANGUAGE, language);
}

// The reasons in words, without those that only repeat another one.
export function reasonTexts(reasons) {
  const own = reasons.find((reason) => reason.code === "habit")?.values.times ?? 0;
  const telling = reasons.filter((reason) => reason.code !== "kind" || reason.values.times > own + 1);
  return telling.map((reason) => {
    const made = words().reasons[reason.code];
    return made ? made(reason.values) : reason.text;
  });
}

export const number = (n) => new Intl.NumberFormat(language).format(n);

export const money = (price) => new Intl.NumberFormat(language, { minimumFractionDigits: 2 }).format(price);

export function percent(p) {
  if (p > 0 && p < 0.001) return language === "zh" ? "< 0.1%" : "< 0.1 %";
  const digits = p < 0.0995 ? 1 : 0;
  return `${(100 * p).toFixed(digits)}${language === "zh" ? "%" : " %"}`;
}

export function day(timestamp, long = false) {
  const style = { year: "numeric", month: long ? "long" : "short", day: "numeric", timeZone: "UTC" };
  return new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB", style).format(new Date(timestamp));
}
