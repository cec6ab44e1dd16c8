// The live page: keeps the last events of some sessions and draws them. Everything foreign becomes text, never markup.

const MAX_SESSIONS = 50;
const MAX_EVENTS = 60;
const SHOWN_ANSWERS = 10;
const DRAW_EVERY_MS = 250;
const QUIET_MS = 8000; // until somebody chooses, the page itself goes on to a livelier session
const TIERS = ["model", "knn", "popular", "default"];
const THEMES = { auto: ["◐ Auto", "automatic"], light: ["☀ Light", "light"], dark: ["☾ Dark", "dark"] };
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const list = byId("sessions");
const sessions = new Map(); // by session, newest activity last
let chosen = null;
let isByHand = false;
let isPaused = false;
let isStale = true;
let figures = null;
let order = [];

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== "") node.textContent = text;
  return node;
}

function draw(tag, attributes, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== "") node.textContent = text;
  return node;
}

const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`);
const milliseconds = (value) => (value === null ? "–" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
const clock = (timeMs) => new Date(timeMs).toLocaleTimeString([], { hour12: false });
const money = (price) => (price === undefined ? "" : price.toFixed(2));
const events = (count) => (count === 1 ? "1 event" : `${count} events`);
const say = (text) => { byId("status").textContent = text; };

function chip(text, className = "") {
  return make("span", `chip ${className}`.trim(), text);
}

function tierChip(tier) {
  return tier === null ? chip("no answer") : chip(tier, `tier t-${tier}`);
}

// --- what comes in ---------------------------------------------------------------------------------------------------

function take(answer) {
  const session = sessions.get(answer.session) ?? { id: answer.session, visitor: answer.visitor, events: [], hits: 0, tried: 0, probability: null, pattern: null };
  const before = session.events.at(-1);
  if (answer.status === "answered" && answer.item && before?.answers.length) {
    answer.place = before.answers.findIndex((item) => item.id === answer.item.id) + 1;
    if (answer.event_type === "view") {
      session.tried += 1;
      session.hits += answer.place > 0 ? 1 : 0;
    }
  }
  session.events.push(answer);
  if (session.events.length > MAX_EVENTS) session.events.shift();
  session.seenMs = performance.now();
  session.probability = answer.probability ?? session.probability;
  session.pattern = answer.pattern ?? session.pattern;
  sessions.delete(session.id);
  sessions.set(session.id, session);
  for (const id of sessions.keys()) {
    if (sessions.size <= MAX_SESSIONS) break;
    if (id !== chosen) sessions.delete(id);
  }
  isStale = true;
}

function connect() {
  const source = new EventSource("/live/events");
  const dot = byId("dot");
  let wasOpen = false;
  source.addEventListener("open", () => {
    dot.className = "dot on";
    if (wasOpen) say("Connected again.");
    wasOpen = true;
  });
  source.addEventListener("error", () => {
    dot.className = "dot off";
    say("The connection to the worker is lost.");
  });
  source.addEventListener("answer", (message) => take(JSON.parse(message.data)));
  source.addEventListener("summary", (message) => {
    figures = JSON.parse(message.data);
    isStale = true;
  });
}

// --- the list --------------------------------------------------------------------------------------------------------

function shownSessions() {
  const tier = byId("tier").value;
  const pattern = byId("pattern").value;
  const fits = (session) => (!tier || session.events.at(-1).tier === tier) && (!pattern || session.pattern === pattern);
  const newestFirst = [...sessions.values()].reverse().filter(fits);
  if (list !== document.activeElement && !list.matches(":hover")) return newestFirst;
  const rank = new Map(order.map((id, place) => [id, place])); // while somebody is in the list nothing moves under them
  return newestFirst.sort((one, other) => (rank.get(one.id) ?? Infinity) - (rank.get(other.id) ?? Infinity));
}

function option(session) {
  const row = make("div");
  row.id = `s-${session.id}`;
  row.setAttribute("role", "option");
  row.dataset.session = session.id;
  const trend = draw("svg", { class: "trend", viewBox: "0 0 56 20", "aria-hidden": "true" });
  trend.append(draw("polyline", { points: "" }));
  const what = make("span", "what");
  what.append(make("b", "kind"), make("span"));
  row.append(what, trend, make("span", "odds"), make("span", "sub"), make("span", "sub"));
  return row;
}

function fill(row, session) {
  const last = session.events.at(-1);
  const [what, trend, odds, about, tier] = row.children;
  what.firstChild.textContent = `${last.event_type.replaceAll("_", " ")} `;
  what.firstChild.className = `kind k-${last.event_type}`;
  what.lastChild.textContent = last.item?.title ?? "";
  trend.firstChild.setAttribute("points", trendOf(session));
  odds.textContent = percent(session.probability);
  about.textContent = `${session.visitor} · ${events(session.events.length)}${session.pattern ? ` · ${session.pattern}` : ""}`;
  tier.textContent = last.tier ?? "–";
  tier.className = last.tier === null ? "sub by" : `sub by t-${last.tier}`;
  row.setAttribute("aria-selected", String(session.id === chosen));
}

function trendOf(session) {
  const shares = session.events.map((event) => event.probability).filter((share) => share !== null).slice(-14);
  const highest = Math.max(0.1, ...shares);
  return shares.map((share, place) => `${54 - 4 * (shares.length - 1 - place)},${(18 - (16 * share) / highest).toFixed(1)}`).join(" ");
}

function drawList() {
  const shown = shownSessions();
  order = shown.map((session) => session.id);
  const rows = new Map([...list.children].map((row) => [row.dataset.session, row]));
  shown.forEach((session, place) => {
    const row = rows.get(session.id) ?? option(session);
    rows.delete(session.id);
    fill(row, session);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  for (const row of rows.values()) row.remove();
  byId("count").textContent = String(shown.length);
  byId("empty").hidden = shown.length > 0;
  byId("empty").textContent = sessions.size ? "No session fits the filters." : "Waiting for the first click…";
  if (chosen !== null && order.includes(chosen)) list.setAttribute("aria-activedescendant", `s-${chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

function choose(id) {
  chosen = id;
  isByHand = true;
  const session = sessions.get(id);
  say(`Session ${session.visitor}: ${events(session.events.length)}, purchase ${percent(session.probability)}.`);
  drawAll();
  byId(`s-${id}`)?.scrollIntoView({ block: "nearest" });
}

// --- one session -----------------------------------------------------------------------------------------------------

function drawChart(session) {
  const chart = byId("chart");
  const points = session.events.filter((event) => event.probability !== null);
  const width = Math.max(chart.clientWidth, 240); // as wide as it is shown, so that its text keeps its size
  const [left, right, top, bottom] = [48, width - 8, 12, 160];
  const highest = Math.max(0, ...points.map((event) => event.probability));
  const ceiling = [0.1, 0.2, 0.4, 0.6, 0.8, 1].find((step) => step >= highest);
  const x = (place) => (points.length < 2 ? left : left + ((right - left) * place) / (points.length - 1));
  const y = (share) => bottom - ((bottom - top) * share) / ceiling;
  chart.setAttribute("viewBox", `0 0 ${width} 190`);
  chart.replaceChildren();
  for (const part of [0, 0.5, 1]) {
    const share = part * ceiling;
    chart.append(draw("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }));
    chart.append(draw("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, percent(share).replace(".0", "")));
  }
  const path = points.map((event, place) => `${x(place).toFixed(1)},${y(event.probability).toFixed(1)}`);
  if (path.length) {
    chart.append(draw("polygon", { class: "area", points: `${left},${bottom} ${path.join(" ")} ${x(points.length - 1)},${bottom}` }));
    chart.append(draw("polyline", { class: "line", points: path.join(" ") }));
  }
  points.forEach((event, place) => {
    const dot = draw("circle", { class: event.event_type, cx: x(place), cy: y(event.probability), r: ["cart", "purchase"].includes(event.event_type) ? 5 : 3.5 });
    dot.append(draw("title", {}, `${event.event_type} ${event.item?.title ?? ""}: ${percent(event.probability)}`));
    chart.append(dot);
  });
  chart.append(draw("text", { x: left, y: 182 }, "first event shown"));
  chart.append(draw("text", { x: right, y: 182, "text-anchor": "end" }, "now"));
  chart.setAttribute("aria-label", `Purchase probability over ${points.length} events, now ${percent(session.probability)}`);
}

function drawAnswers(session) {
  const answered = session.events.findLast((event) => event.answers.length) ?? session.events.at(-1);
  const rows = answered.answers.slice(0, SHOWN_ANSWERS).map((item, place) => {
    const row = make("li");
    const name = make("span", "name", item.title);
    const why = item.because ? `because of ${item.because}` : item.source;
    const told = [item.category, why].filter(Boolean).join(" · ");
    if (told) name.append(make("small", "", told));
    row.append(make("span", "rank", String(place + 1)), name, make("span", "price", money(item.price)));
    return row;
  });
  byId("answers").replaceChildren(...rows);
  const chips = [tierChip(answered.tier), chip(milliseconds(answered.latency_ms))];
  if (answered.model_version !== null) chips.push(chip(`version ${answered.model_version}`));
  if (answered.reason !== null) chips.push(chip(answered.reason.replaceAll("_", " ")));
  byId("answer-chips").replaceChildren(...chips);
}

function drawEvents(session) {
  const rows = [...session.events].reverse().map((event) => {
    const row = make("li");
    const time = make("time", "", clock(event.event_time_ms));
    time.dateTime = new Date(event.event_time_ms).toISOString();
    const name = make("span", "name", event.item?.title ?? "");
    const note = make("small");
    if (event.place > 0) note.append(make("b", "", `✓ foreseen: number ${event.place}`));
    else if (event.status !== "answered") note.textContent = event.status.replaceAll("_", " ");
    else note.textContent = [event.item?.category, `${event.tier ?? "no answer"}, ${milliseconds(event.latency_ms)}`].filter(Boolean).join(" · ");
    name.append(note);
    row.append(time, make("span", `kind k-${event.event_type}`, event.event_type.replaceAll("_", " ")), name);
    return row;
  });
  byId("events").replaceChildren(...rows);
  const hits = session.tried ? [chip(`${session.hits} of ${session.tried} next views foreseen`, session.hits ? "good" : "")] : [];
  byId("hits").replaceChildren(...hits);
}

function drawDetail() {
  const session = sessions.get(chosen);
  byId("detail").hidden = session === undefined;
  if (session === undefined) return;
  byId("session-title").textContent = `Session of ${session.visitor}`;
  const chips = [chip(events(session.events.length))];
  if (session.pattern !== null) chips.unshift(chip(session.pattern));
  byId("chips").replaceChildren(...chips);
  byId("chance").textContent = percent(session.probability);
  drawChart(session);
  drawAnswers(session);
  drawEvents(session);
}

function drawFigures() {
  if (figures === null) return;
  byId("rate").textContent = figures.events_per_second.toFixed(figures.events_per_second < 10 ? 1 : 0);
  byId("p50").textContent = milliseconds(figures.p50_ms);
  byId("p95").textContent = milliseconds(figures.p95_ms);
  const counts = TIERS.map((tier) => [tier, figures.tiers[tier] ?? 0]).filter(([, count]) => count > 0);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  byId("share").replaceChildren(...counts.map(([tier, count]) => {
    const part = make("i", `b-${tier}`);
    part.style.flexGrow = String(count);
    return part;
  }));
  byId("tiers").replaceChildren(...counts.map(([tier, count]) => make("span", `t-${tier}`, `${tier} ${percent(count / total)}`)));
}

function liveliest() {
  const nowMs = performance.now();
  const isLively = (session) => session !== undefined && nowMs - session.seenMs < QUIET_MS;
  if (isLively(sessions.get(chosen)) && sessions.get(chosen).events.length > 2) return chosen;
  const lively = [...sessions.values()].filter(isLively);
  return lively.sort((one, other) => other.events.length - one.events.length)[0]?.id ?? chosen;
}

function drawAll() {
  isStale = false;
  if (!isByHand && list !== document.activeElement) chosen = liveliest();
  drawFigures();
  drawList();
  drawDetail();
}

// --- controls --------------------------------------------------------------------------------------------------------

function pause() {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  byId("pause").textContent = isPaused ? "Resume" : "Pause";
  say(isPaused ? "Paused: the page stands still, the worker does not." : "Live again.");
  if (!isPaused) drawAll();
}

function setTheme(theme) {
  const [label, spoken] = THEMES[theme];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = label;
  byId("theme").setAttribute("aria-label", `Colour theme: ${spoken}`);
  localStorage.setItem("theme", theme);
}

list.addEventListener("click", (event) => {
  const row = event.target.closest("[role=option]");
  if (row) choose(row.dataset.session);
});
list.addEventListener("keydown", (event) => {
  const place = order.indexOf(chosen);
  const places = { ArrowDown: place + 1, ArrowUp: Math.max(place - 1, 0), Home: 0, End: order.length - 1 };
  if (event.key === "Enter" && chosen !== null) byId("session-title").focus();
  else if (event.key in places && order.length) choose(order[Math.min(places[event.key], order.length - 1)]);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("select") || event.ctrlKey || event.metaKey || event.altKey;
  if (event.key.toLowerCase() === "p" && !isTyping) pause();
});
byId("pause").addEventListener("click", pause);
byId("theme").addEventListener("click", () => {
  const themes = Object.keys(THEMES);
  setTheme(themes[(themes.indexOf(localStorage.getItem("theme") ?? "auto") + 1) % themes.length]);
});
for (const filter of [byId("tier"), byId("pattern")]) filter.addEventListener("change", drawList);

const saved = localStorage.getItem("theme");
setTheme(saved in THEMES ? saved : "auto");
setInterval(() => { if (isStale && !isPaused) drawAll(); }, DRAW_EVERY_MS);
connect();
