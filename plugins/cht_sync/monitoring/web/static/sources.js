// The sources: cards for those with problems, rows of a table for the others where there are many.

import { badge, bars, byId, cell, count, duration, link, make, moment, numbers } from "./elements.js";
import { openCollisions, openQuarantine } from "./lists.js";

// So many fit on a page as cards, whatever their state.
const CARDS = 6;
const QUIET = ["ok", "empty"];
// Rows that the reader has opened, by the name of the source.
const opened = new Set();
// What could not be read of the destination, by part.
let unknown = new Set();

const NOT_KNOWN = "unknown";
const known = (part, value) => (unknown.has(part) ? [NOT_KNOWN] : value());

function loadOf(source) {
  const { done, total, seconds_left: left, about } = source.load;
  const part = total ? Math.floor((done / total) * 1000) / 10 : null;
  const said = [about ? "about " : "", numbers.format(done), total ? ` of ${numbers.format(total)} documents (${part} %)` : " documents"];
  const rest = left ? `, about ${duration(left)} left` : "";
  const text = said.join("") + rest;
  const bar = make("progress", { "aria-label": `First load of ${source.source}: ${text}`, ...(total ? { max: total, value: done } : {}) });
  return make("div", { class: "load" }, bar, make("p", {}, text));
}

// What people read of the results of a reconciliation.
const RESULTS = { equal: "verified", repaired: "verified", differs: "differences found", "in doubt": "inconclusive", "under way": "running" };

function reconciliationOf(proof) {
  if (!proof) return ["none yet"];
  const differences = proof.differences === 1 ? "1 difference" : `${numbers.format(proof.differences)} differences`;
  const found = proof.differences || proof.repaired ? ` (${differences}, ${numbers.format(proof.repaired)} repaired)` : "";
  return [`${RESULTS[proof.verdict] ?? proof.verdict}${found}, `, moment(proof.at)];
}

function pendingOf(source) {
  if (!source.pending_known) {
    const then = source.pending === null ? "" : `; ${numbers.format(source.pending)} then`;
    return source.looked_at ? [`${NOT_KNOWN} since `, moment(source.looked_at), then] : [NOT_KNOWN];
  }
  return [source.pending === null ? NOT_KNOWN : numbers.format(source.pending)];
}

function lagOf(source) {
  if (source.lag_seconds !== null) return duration(source.lag_seconds);
  return source.looked_at || source.load ? "unknown before the first load ends" : NOT_KNOWN;
}

/** Why it is not copied, as its task said, and since when it is tried again. */
function errorOf(source) {
  const since = [source.error?.first_at, source.task?.retrying_since].filter(Boolean).sort()[0];
  if (!source.error && !since) return null;
  const tries = source.error?.tries ? `, ${numbers.format(source.error.tries)} ${source.error.tries === 1 ? "try" : "tries"} failed` : "";
  return make(
    "div",
    { class: "said" },
    source.error ? make("p", {}, source.error.message) : null,
    since ? make("p", { class: "soft" }, "Retrying since ", moment(since), tries) : null,
  );
}

function listButton(source, name, number, word, none, open, part) {
  if (unknown.has(part)) return make("span", { class: "soft" }, `${word[0].toUpperCase()}${word.slice(1)}: ${NOT_KNOWN}`);
  if (!number) return make("span", { class: "soft" }, none);
  const text = `${count(number)} ${word}`;
  return make("button", { type: "button", id: `${name}-${source}`, "aria-label": `${text}: ${source}`, onclick: () => open(source) }, text);
}

const actions = (source) =>
  make(
    "div",
    { class: "actions" },
    listButton(source.source, "q", source.quarantined, "in quarantine", "None in quarantine", openQuarantine, "quarantine"),
    listButton(source.source, "c", source.colliding, source.colliding === 1 ? "duplicate ID" : "duplicate IDs", "No duplicate IDs", openCollisions, "collisions"),
    source.task ? link(source.task.link, "Log and retry", `Log and retry: ${source.source}`) : null,
  );

function changesOf(source) {
  if (unknown.has("ledger")) return make("p", { class: "soft" }, "Changes an hour: unknown");
  const hours = source.hourly;
  const caption = `Changes an hour, last 24 h; at most ${numbers.format(Math.max(...hours, 0))}`;
  const sum = hours.reduce((total, each) => total + each, 0);
  const label = `${caption}; ${numbers.format(sum)} in all, ${numbers.format(hours.at(-1) ?? 0)} in the last hour`;
  return make("figure", {}, bars(hours, label), make("figcaption", {}, caption));
}

function details(source) {
  const facts = [
    ["Up to date at", known("sources", () => [moment(source.complete_at)])],
    ["Lag", known("sources", () => [lagOf(source)])],
    ["Pending changes", pendingOf(source)],
    ["Rate of the newest run", known("ledger", () => [source.rate ? `${numbers.format(Math.ceil(source.rate))} documents/s` : "idle"])],
    ["Rows (estimate)", known("rows", () => [source.documents_about === null ? "unknown yet" : numbers.format(source.documents_about)])],
    ["Last reconciliation", known("proofs", () => reconciliationOf(source.proof))],
  ];
  return [
    source.load ? loadOf(source) : null,
    make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, ...value)])),
    changesOf(source),
  ];
}

function card(source, at) {
  const title = `source-${at}`;
  return make(
    "article",
    { class: `card is-${source.state}-card`, "aria-labelledby": title },
    make("h3", { id: title }, source.source),
    badge(source.state, source.word),
    errorOf(source),
    ...details(source),
    actions(source),
  );
}

function row(source, at, redraw) {
  const open = opened.has(source.source);
  const toggle = () => {
    if (!opened.delete(source.source)) opened.add(source.source);
    redraw();
  };
  const id = `more-${at}`;
  const name = make("button", { type: "button", class: "opens", id: `o-${source.source}`, "aria-expanded": String(open), "aria-controls": open ? id : undefined, onclick: toggle }, source.source);
  const short = make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    cell("State", {}, badge(source.state, source.word)),
    cell("Up to date at", {}, ...known("sources", () => [moment(source.complete_at)])),
    cell("Pending", { class: "number rare" }, ...pendingOf(source)),
    cell("Rows (estimate)", { class: "number rare" }, ...known("rows", () => [source.documents_about === null ? "–" : numbers.format(source.documents_about)])),
    cell("Last reconciliation", { class: "rare" }, ...known("proofs", () => reconciliationOf(source.proof))),
  );
  if (!open) return [short];
  return [short, make("tr", { id, class: "more" }, make("td", { colspan: 6 }, ...details(source), actions(source)))];
}

/** Draws all sources, those with problems first. */
export function showSources(status) {
  const { sources } = status;
  unknown = new Set(status.unknown.map((each) => each.part));
  if (!status.destination.reachable) {
    for (const part of ["sources", "quarantine", "collisions", "ledger", "rows", "proofs"]) unknown.add(part);
  }
  const redraw = () => {
    const held = document.activeElement?.id;
    showSources(status);
    if (held) byId(held)?.focus({ preventScroll: true });
  };
  const few = sources.length <= CARDS;
  const carded = sources.filter((source) => few || !QUIET.includes(source.state));
  const quiet = sources.filter((source) => !carded.includes(source));
  const none = unknown.has("sources") ? "The list of sources is unavailable." : "No source has been read yet.";
  byId("sources").replaceChildren(...(sources.length ? carded.map(card) : [make("p", { class: "soft" }, none)]));
  byId("quiet-section").hidden = !quiet.length;
  byId("quiet").replaceChildren(...quiet.flatMap((source, at) => row(source, at, redraw)));
}
