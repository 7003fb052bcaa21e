// What the page is made of: elements, shapes, small charts, times and numbers as words.
// Everything is made by DOM calls, never from markup, so that no name or message can become code.

const ROOT = new URL("../", location.href);
export const MOST = 1_000;
const SVG = "http://www.w3.org/2000/svg";
const STATES = {
  ok: { word: "OK", path: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Z M7 12.5l3.5 3.5L17 8.5" },
  loading: { word: "Loading", path: "M21 12a9 9 0 1 1-3-6.7 M21 3v5h-5", turning: true },
  behind: { word: "Behind", path: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Z M12 6v6l4 3" },
  warning: { word: "Warning", path: "M12 2.5 1.5 21.5h21Z M12 9v6 M12 18v.5" },
  retrying: { word: "Retrying", path: "M3 12a9 9 0 0 1 15.5-6.3L21 8 M21 3v5h-5 M21 12a9 9 0 0 1-15.5 6.3L3 16 M3 21v-5h5" },
  failing: { word: "Failing", path: "M8 2h8l6 6v8l-6 6H8l-6-6V8Z M8.5 8.5l7 7 M15.5 8.5l-7 7" },
  paused: { word: "Paused", path: "M3 3h18v18H3Z M9 8v8 M15 8v8" },
  empty: { word: "Empty", path: "M12 2a10 10 0 0 1 10 10 M20 18a10 10 0 0 1-8 4 M5 19a10 10 0 0 1-3-7 M4 6a10 10 0 0 1 3-3" },
  unknown: { word: "Status unavailable", path: "M12 1 23 12 12 23 1 12Z M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7 M12 16.5v.5" },
};
export const numbers = new Intl.NumberFormat();
// Formats of moments, in the zone that Airflow shows; set once that is known.
let formats = {};

/** The zone that people have chosen in Airflow's UI, else that of Airflow, else that of the browser. */
export function useZone(airflow) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let chosen = "";
  try {
    chosen = (localStorage.getItem("timezone") ?? "").replaceAll('"', "");
  } catch {
    // A browser that keeps nothing for pages.
  }
  for (const timeZone of [chosen, airflow === "UTC" ? "" : airflow, here, "UTC"].filter(Boolean)) {
    try {
      formats = {
        zone: timeZone,
        day: new Intl.DateTimeFormat("en-CA", { timeZone, dateStyle: "short" }),
        dates: new Intl.DateTimeFormat(undefined, { timeZone, month: "short", day: "numeric", hour: "numeric", minute: "2-digit" }),
        longAgo: new Intl.DateTimeFormat(undefined, { timeZone, dateStyle: "medium", timeStyle: "short" }),
        clock: new Intl.DateTimeFormat(undefined, { timeZone, timeStyle: "short" }),
        seconds: new Intl.DateTimeFormat(undefined, { timeZone, timeStyle: "medium" }),
      };
      return timeZone;
    } catch {
      // No zone that this browser knows.
    }
  }
  return "";
}
useZone("");

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes. */
export function make(tag, attributes = {}, ...children) {
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

/** The shape of a state; its word stands next to it, so that a screen reader need not say it twice. */
export function shape(state) {
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

export const badge = (state, word) =>
  make("span", { class: `badge is-${state}` }, shape(state), make("span", {}, word || STATES[state].word));

/** A time span in its two largest units; `fine` tells tenths of a second. */
export function duration(seconds, fine = false) {
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

export const count = (number) => (number > MOST ? `more than ${numbers.format(MOST)}` : numbers.format(number));

const utc = (at) => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** A moment in Airflow's zone, how long ago it was, and in UTC for whoever points at it. */
export function moment(text) {
  if (!text) return document.createTextNode("never");
  const at = new Date(text);
  const ago = (Date.now() - at) / 1000;
  const near = ago >= 0 ? `${duration(Math.max(ago, 1))} ago` : `in ${duration(-ago)}`;
  const [day, today] = [formats.day.format(at), formats.day.format(new Date())];
  const sameYear = day.slice(0, 4) === today.slice(0, 4) ? formats.dates : formats.longAgo;
  const shown = day === today ? formats.clock : sameYear;
  return make("time", { datetime: text, title: utc(at) }, `${shown.format(at)} (${near})`);
}

/** A moment to the second, with the zone. */
export function exactly(text) {
  const at = new Date(text);
  return make("time", { datetime: text, title: utc(at) }, `${formats.seconds.format(at)}, ${formats.zone}`);
}

/** A link into Airflow's UI. Its frame lets nothing inside it lead the window elsewhere, so the window is asked. */
export function link(path, text, label) {
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

export function bars(values, label) {
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

export function trend(values, label) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 0.001);
  const points = values.map((value, at) => `${(at / (values.length - 1)) * 86 + 2},${20 - (value / most) * 17}`);
  return draw(
    "svg",
    { class: "trend", viewBox: "0 0 90 22", role: "img", "aria-label": label },
    draw("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "2" }),
  );
}

/** A cell of a table; narrow screens show its label next to it. */
export const cell = (label, attributes, ...children) => make("td", { "data-label": label, ...attributes }, ...children);
