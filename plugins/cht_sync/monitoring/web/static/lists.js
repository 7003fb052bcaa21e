// The lists behind the numbers.

import { ask } from "./ask.js";
import { byId, cell, make, moment, MOST, numbers } from "./elements.js";

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

export const openQuarantine = (source) =>
  openList(
    `In quarantine: ${source}`,
    "Documents that PostgreSQL could not store are kept unchanged in couchdb_quarantine. Their content is not shown here.",
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

export const openCollisions = (source) =>
  openList(
    `Duplicate IDs: ${source}`,
    "The _id belongs to another source, which comes first and has the row; the current revision of this source is in couchdb_collision.",
    "collisions",
    { source },
    [
      ["Document", (each) => each.id],
      ["Belongs to", (each) => each.owner ?? "no source"],
      ["Deleted here", (each) => (each.deleted ? "yes" : "no")],
      ["Since", (each) => moment(each.since)],
    ],
  );

export const openRejects = ({ doc_type, field, reason }) =>
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

/** Opens the list that a link into this page means, as in `#list=quarantine&source=host/database`. */
export function openLinkedList() {
  const meant = new URLSearchParams(location.hash.slice(1));
  const open = { quarantine: openQuarantine, collisions: openCollisions }[meant.get("list")];
  if (open && meant.get("source")) open(meant.get("source"));
}
