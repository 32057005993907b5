// The form of a house, and what is said of it.
import { ask } from "./asking.js";
import { bar, change, day, el, find, intervals, price, told, words } from "./drawing.js";

const FIRST = 8;  // contributions that are shown at once
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

const controls = () => [...document.querySelectorAll("[data-feature]")];

/** The value of a field as JSON; undefined for none. What is no number goes as it is: the service says what is wrong. */
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
  const pairs = controls().map(each => [each.dataset.feature, valueOf(each)]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

function say(control, message) {
  const place = find(`${control.id}-error`);
  place.textContent = message;
  place.hidden = !message;
  if (message) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** Each violation beside its field, and the focus on the first; what is about no field of this form above them all. */
function showRefusal(refusal) {
  const fields = new Map(controls().map(each => [each.dataset.feature, each]));
  const astray = [];
  for (const { pointer, message } of refusal.violations) {
    const field = fields.get(pointer.slice(1).replaceAll("~1", "/").replaceAll("~0", "~"));
    if (field) say(field, message.slice(0, 1).toUpperCase() + message.slice(1));
    else astray.push(`${pointer.slice(1)} ${message}`);
  }
  const first = controls().find(each => each.hasAttribute("aria-invalid"));
  const above = first || astray.length ? astray : [refusal.message];
  if (astray.length) above.push("The model may have changed: load the page again.");
  tell(above.join(". "));
  first?.focus();
}

function tell(message) {
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
  const between = spans.map(each => `${price(each.low)} to ${price(each.high)}`);
  find("result").replaceChildren(
    el("p", { class: "price" }, price(answer.prediction)),
    spans.length
      ? el("figure", {}, intervals(answer.prediction, spans),
        el("figcaption", {}, el("dl", { class: "spans" }, ...spans.map((each, at) =>
          el("div", {}, el("dt", { class: `level-${each.level}` }, `in ${each.level} of 100 cases`), el("dd", {}, between[at]))))))
      : el("p", { class: "soft" }, "This model cannot tell how sure that is."),
    ...answer.warnings.map(each => el("p", { class: "note" }, each.message.slice(0, 1).toUpperCase() + each.message.slice(1), ".")),
    ...(answer.explanation ? moved(answer.explanation, known(answer)) : []),
    el("p", { class: "origin" }, `By ${answer.model_version}${answer.valued_on ? `, for ${day(answer.valued_on)}` : ""}. Recorded as `,
      el("code", {}, answer.id), "."));
  const sure = spans.length ? `; in ${spans[0].level} of 100 cases ${between[0]}` : "";
  const warned = answer.warnings.length ? ` ${answer.warnings.length} warnings.`.replace(" 1 warnings", " 1 warning") : "";
  find("said").textContent = `Estimate ${price(answer.prediction)}${sure}.${warned}`;
}

/** On a phone the answer stands below the form, and would go unseen. */
function bringIntoView() {
  const { top } = find("result").getBoundingClientRect();
  if (top < 0 || top > 0.6 * innerHeight) find("result-title").scrollIntoView();
}

function moved(explanation, input) {
  const all = [...explanation.contributions].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution));
  const reach = [-1, 1].map(side => Math.max(0, ...all.map(each => side * each.contribution)));
  const row = each => el("li", {},
    el("span", { class: "what" }, each.features.map(words).join(", "), " ", el("small", {}, values(each.features, input))),
    bar(each.contribution, reach), el("span", { class: "by" }, change(each)));
  const more = all.slice(FIRST);
  return [
    el("h3", {}, "What moved it"),
    el("p", { class: "soft" }, `From ${price(explanation.base_price)}, what the model says of a house that it knows nothing of.`),
    el("ol", { class: "moved" }, ...all.slice(0, FIRST).map(row)),
    ...(more.length ? [el("details", {}, el("summary", {}, `${more.length} that moved it less`), el("ol", { class: "moved" }, ...more.map(row)))] : []),
  ];
}

/** What the model knew of a house: also the day of sale, where none was said. */
function known({ input, valued_on: day }) {
  const sale = document.querySelector("[data-sale]");
  return sale && day ? { ...input, [sale.dataset.feature]: day } : input;
}

const values = (features, input) => features.map(name => input[name] === undefined ? "not known" : told(input[name])).join(", ");

/** Let the form estimate; `then` is called after each estimate. */
export function predicting(then) {
  const form = find("house");
  if (!form) return;
  const button = form.querySelector("button");
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    tell("");
    controls().forEach(each => say(each, ""));
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
