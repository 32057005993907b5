// Elements and figures. Texts become text nodes: nothing that comes from a model or a house is read as markup.
const SVG = "http://www.w3.org/2000/svg";

export const find = id => document.getElementById(id);

const filled = (made, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value != null) made.setAttribute(name, value);
  made.append(...children.filter(each => each != null));
  return made;
};
export const el = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

const said = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
const sign = value => (value > 0 ? "+" : "");

/** A value of a house; four digits may be a year, and have no comma. */
export const told = value => {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 6, useGrouping: "min2" }).replace("-", "−") : String(value);
};
/** A price: whole, unless it is small. */
export const price = value => said(value, Math.abs(value) < 100 ? 2 : 0);
export const number = said;
export const percent = (value, digits = 1) => (value == null ? "–" : `${said(value, digits)} %`);
export const time = text =>
  el("time", { datetime: text }, new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }));
export const day = text => new Date(`${text}T00:00Z`).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" });
export const words = name => {
  const spaced = name.replaceAll("_", " ").trim();
  return spaced.slice(0, 1).toUpperCase() + spaced.slice(1) || name;
};

/** A table that can be scrolled sideways; the first column names the rows. */
export function table(caption, header, rows) {
  const cell = (content, at) =>
    el(at ? "td" : "th", at ? {} : { scope: "row" }, ...[content].flat());
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...header.map(each => el("th", { scope: "col" }, each)))),
      el("tbody", {}, ...rows.map(row => el("tr", {}, ...row.map(cell))))));
}

/** Figures in a row, each with what it is, and a mark in words if it is out of range. */
export const figures = rows =>
  el("ul", { class: "key" }, ...rows.map(([value, name, marked]) => el("li", {}, el("b", {}, value), " ", el("span", {}, name),
    ...(marked ? [" ", el("span", { class: "badge off" }, "out of range")] : []))));

const WIDTH = 360, INSET = 2;

/** The intervals of an estimate, the wider behind the narrower, on one scale. */
export function intervals(estimate, spans) {
  const low = Math.min(estimate, ...spans.map(each => each.low));
  const high = Math.max(estimate, ...spans.map(each => each.high));
  const x = value => INSET + (high > low ? (value - low) / (high - low) : 0.5) * (WIDTH - 2 * INSET);
  const widest = [...spans].sort((one, other) => other.level - one.level);
  const bars = widest.map((each, at) => svg("rect", {
    class: `span span-${at}`, x: x(each.low), y: 6 + 4 * at, rx: 3, width: Math.max(2, x(each.high) - x(each.low)), height: 28 - 8 * at,
  }));
  const about = widest.map(each => `${each.level} %: ${price(each.low)} to ${price(each.high)}`).join("; ");
  return svg("svg", { class: "intervals", viewBox: `0 0 ${WIDTH} 40`, role: "img", "aria-label": `Estimate ${price(estimate)}; ${about}` },
    ...bars, svg("line", { class: "here", x1: x(estimate), x2: x(estimate), y1: 0, y2: 40 }));
}

/** A bar to the right of a common zero, or to its left; `reach` is how far the bars of all go: [to the left, to the right]. */
export function bar(amount, [left, right]) {
  const scale = 100 / (left + right || 1), zero = left * scale, length = Math.abs(amount) * scale;
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: amount < 0 ? "down" : "up", x: amount < 0 ? zero - length : zero, y: 0, width: Math.max(length, 0.6), height: 10 }),
    svg("line", { class: "zero", x1: zero, x2: zero, y1: 0, y2: 10 }));
}

/** What a contribution makes of the price: in percent where it is one to the logarithm. */
export const change = each =>
  each.percent == null ? `${sign(each.contribution)}${said(each.contribution, 0)}` : `${sign(each.percent)}${said(each.percent, 1)} %`;
