// The status page of CHT Sync: asks api/status every few seconds and draws it. It changes nothing anywhere.
// Everything is made by DOM calls, never from markup, so that no name or message can become code.

const EVERY_MS = 15_000;
const ROOT = new URL("../", location.href);
const MOST = 1_000;
const SVG = "http://www.w3.org/2000/svg";
const STATES = {
  ok: { word: "Good", path: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Z M7 12.5l3.5 3.5L17 8.5" },
  loading: { word: "Loading", path: "M21 12a9 9 0 1 1-3-6.7 M21 3v5h-5", turning: true },
  behind: { word: "Behind", path: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Z M12 6v6l4 3" },
  warning: { word: "Look", path: "M12 2.5 1.5 21.5h21Z M12 9v6 M12 18v.5" },
  failing: { word: "Failing", path: "M8 2h8l6 6v8l-6 6H8l-6-6V8Z M8.5 8.5l7 7 M15.5 8.5l-7 7" },
  paused: { word: "Waits", path: "M3 3h18v18H3Z M9 8v8 M15 8v8" },
  empty: { word: "Empty", path: "M12 2a10 10 0 0 1 10 10 M20 18a10 10 0 0 1-8 4 M5 19a10 10 0 0 1-3-7 M4 6a10 10 0 0 1 3-3" },
  unknown: { word: "Not known", path: "M12 1 23 12 12 23 1 12Z M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7 M12 16.5v.5" },
};
const numbers = new Intl.NumberFormat();
const dates = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const longAgo = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const times = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The shape of a state; its word stands beside it, so that a reader of the screen need not hear it twice. */
function shape(state) {
  const { path, turning } = STATES[state] ?? STATES.unknown;
  const line = draw("path", { d: path, ...(turning ? { class: "turning" } : {}) });
  return draw(
    "svg",
    {
      class: "shape", viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2",
      "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
    },
    line,
  );
}

const badge = (state, word) =>
  make("span", { class: `badge is-${state}` }, shape(state), make("span", {}, word || STATES[state].word));

/** A time span in its two largest units; `fine` tells tenths of a second. */
function duration(seconds, fine = false) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${fine ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  let left = Math.round(seconds);
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const number = Math.floor(left / size);
    left -= number * size;
    if (number || parts.length) parts.push(number ? `${number} ${unit}` : "");
  }
  return parts.slice(0, 2).filter(Boolean).join(" ");
}

const count = (number) => (number > MOST ? `more than ${numbers.format(MOST)}` : numbers.format(number));

/** A moment in local time, how long ago it was, and in UTC for whoever points at it. */
function moment(text) {
  if (!text) return document.createTextNode("never");
  const at = new Date(text);
  const ago = (Date.now() - at) / 1000;
  const near = ago >= 0 ? `${duration(Math.max(ago, 1))} ago` : `in ${duration(-ago)}`;
  const now = new Date();
  const sameYear = at.getFullYear() === now.getFullYear() ? dates : longAgo;
  const shown = at.toDateString() === now.toDateString() ? clock : sameYear;
  const utc = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return make("time", { datetime: text, title: utc }, `${shown.format(at)} (${near})`);
}

/** A link into Airflow's UI. Its frame lets nothing inside it lead the window elsewhere, so the window is asked. */
function link(path, text, label) {
  const href = new URL(path, ROOT).href;
  const follow = (event) => {
    if (window.parent === window || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = href;
    outside.click();
  };
  return make("a", { href, onclick: follow, ...(label ? { "aria-label": label } : {}) }, text);
}

function bars(values, label) {
  const most = Math.max(...values, 1);
  const drawn = values.map((value, at) => {
    const height = value ? Math.max((value / most) * 38, 2) : 0.75;
    return draw("rect", { x: at * 10 + 1, y: 40 - height, width: 8, height, fill: "currentColor" });
  });
  return draw(
    "svg",
    { class: "spark", viewBox: `0 0 ${values.length * 10} 40`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...drawn,
  );
}

function trend(values, label) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 0.001);
  const points = values.map((value, at) => `${(at / (values.length - 1)) * 86 + 2},${20 - (value / most) * 17}`);
  return draw(
    "svg",
    { class: "trend", viewBox: "0 0 90 22", role: "img", "aria-label": label },
    draw("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "2" }),
  );
}

// --- parts of the page -------------------------------------------------------------------------

function showVerdict(status) {
  const { verdict, sources, dag } = status;
  byId("verdict").className = `verdict is-${verdict.state}`;
  byId("verdict-shape").replaceChildren(shape(verdict.state));
  // Told to readers of the screen only when it changes.
  if (byId("headline").textContent !== verdict.headline) byId("headline").textContent = verdict.headline;
  document.title = `${verdict.headline} – CHT Sync`;
  const facts = [];
  if (verdict.since) facts.push(verdict.state === "ok" ? "All read to the end " : "Since ", moment(verdict.since), ". ");
  if (sources.length) {
    const good = sources.filter((source) => source.state === "ok").length;
    facts.push(`${good} of ${sources.length} ${sources.length === 1 ? "source" : "sources"} complete and fresh. `);
  }
  if (dag.run) facts.push(link(dag.run.link, `Newest run: ${dag.run.state}`), " ");
  byId("facts").replaceChildren(...facts);
  const at = new Date(status.at);
  byId("as-of").replaceChildren("As of ", make("time", { datetime: status.at, title: at.toISOString() }, times.format(at)));
}

function showRemarks(remarks) {
  byId("remarks").replaceChildren(
    ...remarks.map((remark) =>
      make(
        "li",
        {},
        badge(remark.state),
        make(
          "div",
          {},
          make("p", {}, remark.text, ...(remark.since ? [" Since ", moment(remark.since), "."] : [])),
          remark.todo || remark.link
            ? make("p", { class: "soft" }, remark.todo, " ", remark.link ? link(remark.link, "Open in Airflow", `Open in Airflow: ${remark.text}`) : "")
            : null,
        ),
      ),
    ),
  );
}

function loadOf(source) {
  const { done, total, seconds_left: left, about } = source.load;
  const part = total ? Math.floor((done / total) * 1000) / 10 : null;
  const said = [about ? "about " : "", numbers.format(done), total ? ` of ${numbers.format(total)} documents (${part} %)` : " documents"];
  const rest = left ? `, about ${duration(left)} left` : "";
  const text = said.join("") + rest;
  const bar = make("progress", { "aria-label": `First load of ${source.source}: ${text}`, ...(total ? { max: total, value: done } : {}) });
  return make("div", { class: "load" }, bar, make("p", {}, text));
}

function proofOf(proof) {
  if (!proof) return ["none yet"];
  const differences = proof.differences === 1 ? "1 difference" : `${numbers.format(proof.differences)} differences`;
  const found = proof.differences || proof.repaired ? ` (${differences}, ${numbers.format(proof.repaired)} repaired)` : "";
  return [`${proof.verdict}${found}, `, moment(proof.at)];
}

function sourceCard(source, at) {
  const facts = [
    ["Complete as of", [moment(source.complete_at)]],
    ["Lag", [source.lag_seconds === null ? "not known before the first load ends" : duration(source.lag_seconds)]],
    ["Waiting in CouchDB", [source.pending === null ? "not told" : numbers.format(source.pending)]],
    ["Rate of the newest run", [source.rate ? `${numbers.format(Math.ceil(source.rate))} documents/s` : "idle"]],
    ["Rows, about", [source.documents_about === null ? "not known yet" : numbers.format(source.documents_about)]],
    ["Last proof", proofOf(source.proof)],
  ];
  const title = `source-${at}`;
  const hours = source.hourly;
  const most = Math.max(...hours, 0);
  const caption = `Changes an hour, last 24 h; at most ${numbers.format(most)}`;
  const sum = hours.reduce((total, each) => total + each, 0);
  const label = `${caption}; ${numbers.format(sum)} in all, ${numbers.format(hours.at(-1) ?? 0)} in the last hour`;
  const quarantined = `${count(source.quarantined)} in quarantine`;
  const colliding = `${count(source.colliding)} colliding`;
  return make(
    "article",
    { class: "card", "aria-labelledby": title },
    make("h3", { id: title }, source.source),
    badge(source.state, source.word),
    source.load ? loadOf(source) : null,
    make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, ...value)])),
    make("figure", {}, bars(hours, label), make("figcaption", {}, caption)),
    make(
      "div",
      { class: "actions" },
      source.quarantined
        ? make("button", { type: "button", id: `q-${at}`, "aria-label": `${quarantined}: ${source.source}`, onclick: () => openQuarantine(source.source) }, quarantined)
        : make("span", { class: "soft" }, "None in quarantine"),
      source.colliding
        ? make("button", { type: "button", id: `c-${at}`, "aria-label": `${colliding}: ${source.source}`, onclick: () => openCollisions(source.source) }, colliding)
        : make("span", { class: "soft" }, "None colliding"),
      source.task ? link(source.task.link, "Log and retry", `Log and retry: ${source.source}`) : null,
    ),
  );
}

function showSources(sources) {
  const cards = sources.map(sourceCard);
  byId("sources").replaceChildren(...(cards.length ? cards : [make("p", { class: "soft" }, "No source has been read yet.")]));
}

const cell = (label, attributes, ...children) => make("td", { "data-label": label, ...attributes }, ...children);

function modelRow(model) {
  const recent = model.recent_seconds;
  const fault = model.documents_at_fault.length ? ` Documents at fault: ${model.documents_at_fault.join(", ")}.` : "";
  const label = `Duration of the last ${recent.length} runs: from ${duration(recent[0], true)} to ${duration(recent.at(-1), true)}`;
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, model.name),
    cell(
      "Last result",
      {},
      badge(model.state, model.word),
      model.message || fault ? make("span", { class: "message" }, model.message + fault) : null,
      model.failing_since ? make("span", { class: "message" }, "Since ", moment(model.failing_since)) : null,
    ),
    cell("When", { class: "brief" }, moment(model.ended_at)),
    cell("Duration", { class: "brief" }, trend(recent, label), duration(model.seconds, true)),
    cell("Rows", { class: "number" }, model.rows === null ? "–" : numbers.format(model.rows)),
    cell("Lag", { class: "number" }, duration(model.lag_seconds)),
  );
}

function showModels({ models, groups }) {
  byId("models-section").hidden = !models.length && !groups.length;
  byId("models").replaceChildren(...models.map(modelRow));
  const said = groups.flatMap((group) => [
    group.models ? `${group.models}: ` : "",
    group.waiting ? `${count(group.waiting)} ${group.waiting === 1 ? "document waits" : "documents wait"} to be modelled` : "Every document is modelled",
    ", last good run ", moment(group.succeeded_at), ". ",
  ]);
  byId("groups").replaceChildren(...said);
}

function showRejects({ rejects }) {
  byId("rejects-section").hidden = !rejects.length;
  byId("rejects").replaceChildren(
    ...rejects.map((reject, at) => {
      const number = numbers.format(reject.documents);
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, reject.doc_type ?? "none"),
        cell("Field", {}, reject.field),
        cell("Reason", {}, reject.reason),
        cell(
          "Documents",
          { class: "number" },
          make("button", { type: "button", id: `r-${at}`, "aria-label": `${number} documents: ${reject.field}, ${reject.reason}`, onclick: () => openRejects(reject) }, number),
        ),
      );
    }),
  );
}

// --- the lists behind the numbers ----------------------------------------------------------------

let drill = 0;

function openList(title, note, path, parameters, columns) {
  const mine = ++drill;
  const rows = byId("drill-rows");
  byId("drill-title").textContent = title;
  byId("drill-note").textContent = note;
  byId("drill-columns").replaceChildren(...columns.map(([name]) => make("th", { scope: "col" }, name)));
  rows.replaceChildren();
  const more = byId("drill-more");
  const load = async () => {
    more.hidden = true;
    try {
      const answer = await ask(`api/${path}?${new URLSearchParams({ ...parameters, offset: rows.children.length })}`);
      if (mine !== drill) return;
      rows.append(...answer.items.map((item) => make("tr", {}, ...columns.map(([name, value]) => cell(name, {}, value(item))))));
      more.hidden = !answer.more || rows.children.length >= 10 * MOST;
      if (!rows.children.length) byId("drill-note").textContent = "None any more.";
    } catch (error) {
      if (mine === drill) byId("drill-note").textContent = error.message;
    }
  };
  more.onclick = load;
  byId("drill").showModal();
  load();
}

const openQuarantine = (source) =>
  openList(
    `In quarantine: ${source}`,
    "What PostgreSQL could not hold is kept as it came in couchdb_quarantine. Its content is not shown here.",
    "quarantine",
    { source },
    [
      ["Document", (entry) => entry.id],
      ["Reason", (entry) => (entry.sqlstate ? `${entry.reason} (SQLSTATE ${entry.sqlstate})` : entry.reason)],
      ["First seen", (entry) => moment(entry.first_seen)],
      ["Last tried", (entry) => moment(entry.last_seen)],
      ["Tries", (entry) => numbers.format(entry.attempts)],
      ["Bytes", (entry) => numbers.format(entry.bytes)],
    ],
  );

const openCollisions = (source) =>
  openList(
    `Colliding: ${source}`,
    "The _id belongs to another source, which came first and keeps the row; the newest state of this one is in couchdb_collision.",
    "collisions",
    { source },
    [
      ["Document", (each) => each.id],
      ["Belongs to", (each) => each.owner ?? "nobody"],
      ["Deleted here", (each) => (each.deleted ? "yes" : "no")],
      ["Since", (each) => moment(each.since)],
    ],
  );

const openRejects = ({ doc_type, field, reason }) =>
  openList(
    `${field}: ${reason}`,
    "The value is null in the models; document_rejects holds it.",
    "rejects",
    { field, reason, ...(doc_type === null ? {} : { doc_type }) },
    [
      ["Document", (each) => each.id],
      ["Stored", (each) => moment(each.saved_at)],
    ],
  );

// --- asking --------------------------------------------------------------------------------------

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Error("Airflow's API server does not answer.");
  }
  if (answer.status === 401) throw new Error("You are signed out: sign in to Airflow again.");
  if (answer.status === 403) throw new Error("You may not see this: it takes the right to read the DAG cht_sync.");
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(typeof said.detail === "string" ? said.detail : `Airflow's API server answered ${answer.status}.`);
  }
  return answer.json();
}

async function refresh() {
  const trouble = byId("trouble");
  try {
    const status = await ask("api/status");
    const focused = document.activeElement?.id;
    showVerdict(status);
    showRemarks(status.verdict.remarks);
    showSources(status.sources);
    showModels(status);
    showRejects(status);
    if (focused && document.activeElement?.id !== focused) byId(focused)?.focus({ preventScroll: true });
    trouble.hidden = true;
  } catch (error) {
    const old = byId("as-of").textContent;
    trouble.textContent = old ? `${error.message} What you see is old (${old.toLowerCase()}).` : error.message;
    trouble.hidden = false;
    if (!old) byId("headline").textContent = "Not known";
  }
}

/** Light or dark as Airflow's UI around the page is, else as it was last, else as the system is. */
function followTheme() {
  const root = document.documentElement;
  let around = null;
  try {
    around = window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    // Framed by another origin, which the policy forbids anyway.
  }
  const choose = () => {
    const said = around ? (around.classList.contains("dark") ? "dark" : "light") : localStorage.getItem("theme");
    if (said === "dark" || said === "light") root.dataset.theme = said;
  };
  choose();
  if (around) new MutationObserver(choose).observe(around, { attributeFilter: ["class"] });
}

followTheme();
byId("drill-close").addEventListener("click", () => byId("drill").close());
await refresh();
setInterval(() => document.hidden || refresh(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
