// The status page of CHT Sync: asks api/status every few seconds and draws it. It changes nothing anywhere.

import { ask } from "./ask.js";
import { badge, bars, byId, cell, count, duration, link, make, moment, numbers, shape, times, trend } from "./elements.js";
import { openCollisions, openQuarantine, openRejects } from "./lists.js";

const EVERY_MS = 15_000;

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
  const copied = sources.filter((source) => source.copied);
  if (copied.length) {
    const good = copied.filter((source) => source.state === "ok").length;
    facts.push(`${good} of ${copied.length} ${copied.length === 1 ? "source" : "sources"} complete and fresh. `);
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
        ? make("button", { type: "button", id: `q-${source.source}`, "aria-label": `${quarantined}: ${source.source}`, onclick: () => openQuarantine(source.source) }, quarantined)
        : make("span", { class: "soft" }, "None in quarantine"),
      source.colliding
        ? make("button", { type: "button", id: `c-${source.source}`, "aria-label": `${colliding}: ${source.source}`, onclick: () => openCollisions(source.source) }, colliding)
        : make("span", { class: "soft" }, "None colliding"),
      source.task ? link(source.task.link, "Log and retry", `Log and retry: ${source.source}`) : null,
    ),
  );
}

function showSources(sources) {
  const cards = sources.map(sourceCard);
  byId("sources").replaceChildren(...(cards.length ? cards : [make("p", { class: "soft" }, "No source has been read yet.")]));
}

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
    ...rejects.map((reject) => {
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
          make("button", { type: "button", id: `r-${reject.doc_type}-${reject.field}-${reject.reason}`, "aria-label": `${number} documents: ${reject.field}, ${reject.reason}`, onclick: () => openRejects(reject) }, number),
        ),
      );
    }),
  );
}

// --- asking --------------------------------------------------------------------------------------

/** Remembers what has the focus, and gives it back once all is drawn anew: to buttons by id, to links by their text. */
function heldFocus() {
  const held = document.activeElement;
  const same = (link) => link.href === held.href && link.textContent === held.textContent;
  const labelled = (link) => link.ariaLabel === held.ariaLabel;
  const find = () => {
    if (held?.id) return byId(held.id);
    const links = [...document.links].filter(same);
    return links.find(labelled) ?? links[0];
  };
  return () => held && held !== document.activeElement && find()?.focus({ preventScroll: true });
}

async function refresh() {
  const trouble = byId("trouble");
  try {
    const status = await ask("api/status");
    const restoreFocus = heldFocus();
    showVerdict(status);
    showRemarks(status.verdict.remarks);
    showSources(status.sources);
    showModels(status);
    showRejects(status);
    restoreFocus();
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
