// Elements, numbers and figures. Texts become text nodes, so names and values are never parsed as markup.
const SVG = "http://www.w3.org/2000/svg";

export const find = id => document.getElementById(id);

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...children.filter(child => child != null));
  return element;
};
/** Create an HTML element; attributes and children that are null are omitted. */
export const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** Format a number with a fixed number of decimals. */
export const number = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
const sign = value => (value > 0 ? "+" : "");

/** Format a value of a house. Four digits may be a year, so they have no comma. */
export const formatted = value => {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 6, useGrouping: "min2" }).replace("-", "−") : String(value);
};
/** Format a price, without cents unless it is below 100. */
export const price = value => number(value, Math.abs(value) < 100 ? 2 : 0);
export const percent = (value, digits = 1) => (value == null ? "–" : `${number(value, digits)}%`);
export const time = text =>
  el("time", { datetime: text }, new Date(text).toLocaleString("en-US", { dateStyle: "medium", timeStyle: "short" }));
export const day = text => new Date(`${text}T00:00Z`).toLocaleDateString("en-US", { dateStyle: "long", timeZone: "UTC" });
/** Turn the name of a feature into a label. */
export const words = name => {
  const spaced = name.replaceAll("_", " ").trim();
  return spaced.slice(0, 1).toUpperCase() + spaced.slice(1) || name;
};

/** Create a table that can scroll sideways, with row titles in the first column. */
export function table(caption, header, rows) {
  const cell = (content, at) =>
    el(at ? "td" : "th", at ? {} : { scope: "row" }, ...[content].flat());
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...header.map(title => el("th", { scope: "col" }, title)))),
      el("tbody", {}, ...rows.map(row => el("tr", {}, ...row.map(cell))))));
}

/** Create a row of figures, each with its name, and a mark if it is out of range. */
export const figures = rows =>
  el("ul", { class: "key" }, ...rows.map(([value, name, marked]) => el("li", {}, el("b", {}, value), " ", el("span", {}, name),
    ...(marked ? [" ", el("span", { class: "badge off" }, "out of range")] : []))));

const WIDTH = 360, INSET = 2;

/** Draw the intervals of an estimate on one scale, the wider behind the narrower. */
export function intervals(estimate, spans) {
  const low = Math.min(estimate, ...spans.map(span => span.low));
  const high = Math.max(estimate, ...spans.map(span => span.high));
  const x = value => INSET + (high > low ? (value - low) / (high - low) : 0.5) * (WIDTH - 2 * INSET);
  const widest = [...spans].sort((one, other) => other.level - one.level);
  const bars = widest.map((span, at) => svg("rect", {
    class: `span span-${at}`, x: x(span.low), y: 6 + 4 * at, rx: 3, width: Math.max(2, x(span.high) - x(span.low)), height: 28 - 8 * at,
  }));
  const ranges = widest.map(span => `${span.level}% interval ${price(span.low)} to ${price(span.high)}`).join("; ");
  return svg("svg", { class: "intervals", viewBox: `0 0 ${WIDTH} 40`, role: "img", "aria-label": `Estimate ${price(estimate)}; ${ranges}` },
    ...bars, svg("line", { class: "here", x1: x(estimate), x2: x(estimate), y1: 0, y2: 40 }));
}

/** Draw a bar to the right or left of zero, on a scale that reaches from -left to right. */
export function bar(amount, [left, right]) {
  const scale = 100 / (left + right || 1), zero = left * scale, length = Math.abs(amount) * scale;
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: amount < 0 ? "down" : "up", x: amount < 0 ? zero - length : zero, y: 0, width: Math.max(length, 0.6), height: 10 }),
    svg("line", { class: "zero", x1: zero, x2: zero, y1: 0, y2: 10 }));
}

/** Format a contribution: in percent if it is to the logarithm of the price. */
export const change = ({ contribution, percent }) =>
  percent == null ? `${sign(contribution)}${number(contribution, 0)}` : `${sign(percent)}${number(percent, 1)}%`;
