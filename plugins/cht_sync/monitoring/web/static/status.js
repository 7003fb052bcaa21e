// The status page of CHT Sync: asks api/status every few seconds and draws it. It changes nothing anywhere.

import { ask } from "./ask.js";
import { badge, byId, cell, count, duration, exactly, link, make, moment, numbers, shape, trend, useZone } from "./elements.js";
import { openCollisions, openLinkedList, openQuarantine, openRejects } from "./lists.js";
import { showSources } from "./sources.js";

const EVERY_MS = 15_000;
// What the moment of a remark means, where it is not when it began.
const SINCE = {
  source: " Last up to date ", proof: " At ", scheduler: " Last heartbeat ", triggerer: " Last heartbeat ",
  behind: " Last up to date ", reconciliation_overdue: " Last one ",
};

// --- parts of the page -------------------------------------------------------------------------

function showVerdict(status) {
  const { verdict, sources, dag } = status;
  byId("verdict").className = `verdict is-${verdict.state}`;
  byId("verdict-shape").replaceChildren(shape(verdict.state));
  // Announced by screen readers only when it changes.
  if (byId("headline").textContent !== verdict.headline) byId("headline").textContent = verdict.headline;
  document.title = `${verdict.headline} – CHT Sync`;
  const facts = [];
  if (verdict.since) facts.push(verdict.state === "ok" ? "All up to date at " : "Since ", moment(verdict.since), ". ");
  const copied = sources.filter((source) => source.copied);
  // Sources whose state is unknown are not counted as not fresh.
  if (copied.length && !copied.some((source) => source.state === "unknown")) {
    const good = copied.filter((source) => source.state === "ok").length;
    facts.push(`${good} of ${copied.length} ${copied.length === 1 ? "source" : "sources"} complete and fresh. `);
  }
  if (dag.run) facts.push(link(dag.run.link, `Newest run: ${dag.run.state}`), " ");
  byId("facts").replaceChildren(...facts);
  byId("as-of").replaceChildren("As of ", exactly(status.at));
}

const LISTS = { quarantine: ["Show the documents", openQuarantine], collisions: ["Show the documents", openCollisions] };

function listsOf(remark) {
  return remark.lists.map(({ name, source }) => {
    const [text, open] = LISTS[name];
    const of = remark.lists.length > 1 ? `${text} of ${source}` : text;
    return make("button", { type: "button", id: `l-${name}-${source}`, "aria-label": `${text}: ${source}, ${name}`, onclick: () => open(source) }, of);
  });
}

function triesOf(remark) {
  if (!remark.retrying_since) return [];
  const tries = remark.tries ? `, ${numbers.format(remark.tries)} ${remark.tries === 1 ? "try" : "tries"} failed` : "";
  return [" Retrying since ", moment(remark.retrying_since), `${tries}.`];
}

function showRemarks(remarks) {
  byId("remarks").replaceChildren(
    ...remarks.map((remark) =>
      make(
        "li",
        { class: `is-${remark.state}-card` },
        badge(remark.state),
        make(
          "div",
          {},
          make("p", {}, remark.text, ...triesOf(remark), ...(remark.since ? [SINCE[remark.kind] ?? " Since ", moment(remark.since), "."] : [])),
          remark.message ? make("p", { class: "said" }, remark.message) : null,
          remark.todo || remark.link
            ? make("p", { class: "soft" }, remark.todo, " ", remark.link ? link(remark.link, "Open in Airflow", `Open in Airflow: ${remark.text}`) : "")
            : null,
          remark.lists.length ? make("div", { class: "actions" }, ...listsOf(remark)) : null,
        ),
      ),
    ),
  );
}

function modelRow(model) {
  const recent = model.recent_seconds;
  const fault = model.documents_at_fault.length ? ` Documents that fail it: ${model.documents_at_fault.join(", ")}.` : "";
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

function showModels({ models, groups, unknown }) {
  const missing = new Set(unknown.map((each) => each.part));
  byId("models-section").hidden = !models.length && !groups.length && !missing.has("models") && !missing.has("groups");
  byId("models-table").hidden = !models.length;
  byId("models").replaceChildren(...models.map(modelRow));
  const said = groups.flatMap((group) => [
    group.models ? `${group.models}: ` : "",
    group.waiting ? `${count(group.waiting)} ${group.waiting === 1 ? "document waits" : "documents wait"} to be modelled` : "Every document is modelled",
    ...(group.succeeded_at ? [", last successful run ", moment(group.succeeded_at), ". "] : [", never completed a run. "]),
  ]);
  if (missing.has("groups")) said.push("How many documents wait for the models is unknown. ");
  if (missing.has("models")) said.push("Results of the models are unavailable.");
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

/** Remembers what has the focus, and gives it back once all is redrawn: to buttons by id, to links by their text. */
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
    useZone(status.timezone);
    showVerdict(status);
    showRemarks(status.verdict.remarks);
    showSources(status);
    showModels(status);
    showRejects(status);
    restoreFocus();
    trouble.hidden = true;
  } catch (error) {
    const old = byId("as-of").textContent;
    trouble.textContent = old ? `${error.message} What you see is old (${old.toLowerCase()}).` : error.message;
    trouble.hidden = false;
    if (!old) byId("headline").textContent = "Status unavailable";
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
openLinkedList();
window.addEventListener("hashchange", openLinkedList);
setInterval(() => document.hidden || refresh(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
