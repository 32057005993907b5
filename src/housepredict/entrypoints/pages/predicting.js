// The form of a house, and its estimate.
import { ask } from "./asking.js";
import { bar, change, day, el, find, formatted, intervals, price, words } from "./drawing.js";

const FIRST = 8;  // contributions to show; the others are folded
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

const controls = () => [...document.querySelectorAll("[data-feature]")];

/** Return the value of a field as JSON, undefined if it is empty. Invalid numbers stay text, and the service rejects them. */
function valueOf(control) {
  const text = control.value.trim();
  if (control.type === "checkbox") return control.checked;
  if (text === "") return undefined;
  switch (control.dataset.kind) {
    case "boolean": return text === "true";
    case "number": case "integer": return NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;
    default: return text;
  }
}

function house() {
  const pairs = controls().map(control => [control.dataset.feature, valueOf(control)]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

function showError(control, message) {
  const error = find(`${control.id}-error`);
  error.textContent = message;
  error.hidden = !message;
  if (message) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** Show each violation at its field and focus the first one. Violations of fields that the form lacks go above it. */
function showRefusal(refusal) {
  const fields = new Map(controls().map(control => [control.dataset.feature, control]));
  const others = [];
  for (const { pointer, message } of refusal.violations) {
    const name = pointer.slice(1).replaceAll("~1", "/").replaceAll("~0", "~"), field = fields.get(name);
    if (field) showError(field, message.slice(0, 1).toUpperCase() + message.slice(1));
    else others.push(`${name}: ${message}`);
  }
  const first = controls().find(control => control.hasAttribute("aria-invalid"));
  const messages = first || others.length ? others : [refusal.message];
  if (others.length) messages.push("The model may have changed: reload the page");
  showAlert(messages.join(". "));
  first?.focus();
}

function showAlert(message) {
  find("broken").textContent = message;
  find("broken").hidden = !message;
}

async function explained(body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  try {
    return await ask("predict?explain=true", options);
  } catch (refusal) {
    if (refusal.kind !== "no-explanation") throw refusal;
    return ask("predict", options);
  }
}

function show(answer) {
  const spans = Object.entries(answer.interval ?? {}).map(([level, span]) => ({ level: Number(level), ...span }));
  const ranges = spans.map(span => `${price(span.low)} to ${price(span.high)}`);
  find("result").replaceChildren(
    el("p", { class: "price" }, price(answer.prediction)),
    spans.length
      ? el("figure", {}, intervals(answer.prediction, spans),
        el("figcaption", {}, el("dl", { class: "spans" }, ...spans.map(({ level }, at) =>
          el("div", {}, el("dt", { class: `level-${level}` }, `${level}% interval`), el("dd", {}, ranges[at]))))))
      : el("p", { class: "soft" }, "This model has no intervals."),
    ...answer.warnings.map(({ message }) => el("p", { class: "note" }, message.slice(0, 1).toUpperCase() + message.slice(1), ".")),
    ...(answer.explanation ? moved(answer.explanation, known(answer)) : []),
    el("p", { class: "origin" }, `Model ${answer.model_version}${answer.valued_on ? `, valued as of ${day(answer.valued_on)}` : ""}. Prediction `,
      el("code", {}, answer.id), "."));
  const range = spans.length ? `; ${spans[0].level}% interval ${ranges[0]}` : "";
  const warned = answer.warnings.length ? ` ${answer.warnings.length} warnings.`.replace(" 1 warnings", " 1 warning") : "";
  find("announcement").textContent = `Estimate ${price(answer.prediction)}${range}.${warned}`;
}

/** Scroll to the result if it is out of view, as on a phone, where it is below the form. */
function bringIntoView() {
  const { top } = find("result").getBoundingClientRect();
  if (top < 0 || top > 0.6 * innerHeight) find("result-title").scrollIntoView();
}

function moved(explanation, input) {
  const all = [...explanation.contributions].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution));
  const reach = [-1, 1].map(side => Math.max(0, ...all.map(({ contribution }) => side * contribution)));
  const row = item => el("li", {},
    el("span", { class: "what" }, item.features.map(words).join(", "), " ", el("small", {}, values(item.features, input))),
    bar(item.contribution, reach), el("span", { class: "by" }, change(item)));
  const more = all.slice(FIRST);
  return [
    el("h3", {}, "What drives the estimate"),
    el("p", { class: "soft" }, `Starting from ${price(explanation.base_price)}, the average before any feature is known.`),
    el("ol", { class: "moved" }, ...all.slice(0, FIRST).map(row)),
    ...(more.length ? [el("details", {}, el("summary", {}, `${more.length} smaller contributions`), el("ol", { class: "moved" }, ...more.map(row)))] : []),
  ];
}

/** Return the values that the model used: the input, and the valuation date if no sale date was entered. */
function known({ input, valued_on: day }) {
  const sale = document.querySelector("[data-sale]");
  return sale && day ? { ...input, [sale.dataset.feature]: day } : input;
}

const values = (features, input) => features.map(name => input[name] === undefined ? "unknown" : formatted(input[name])).join(", ");

/** Connect the form; `then` is called after each estimate. */
export function predicting(then) {
  const form = find("house");
  if (!form) return;
  const button = form.querySelector("button");
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    showAlert("");
    controls().forEach(control => showError(control, ""));
    try {
      show(await explained(JSON.stringify(house())));
      bringIntoView();
      then();
    } catch (refusal) {
      showRefusal(refusal);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}
