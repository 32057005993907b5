// The most recent predictions.
import { ask } from "./asking.js";
import { el, find, formatted, price, table, time, words } from "./drawing.js";

const NOT_FEATURES = new Set(["id", "predicted_price", "created_at", "interval", "fsd", "model_version", "generation", "valued_on", "warnings"]);
const SHOWN = 4;  // features of a house

function house(prediction) {
  const features = Object.entries(prediction).filter(([name]) => !NOT_FEATURES.has(name));
  const first = features.slice(0, SHOWN).map(([name, value]) => `${words(name)} ${formatted(value)}`).join(" · ");
  return features.length > SHOWN ? `${first} · …` : first;
}

const range = interval => {
  const span = interval?.["80"];
  return span ? `${price(span.low)} to ${price(span.high)}` : "–";
};

/** Show the most recent predictions. Throws a Refusal. */
export async function showRecent() {
  const { predictions } = await ask("predictions?limit=8");
  find("recent").replaceChildren(predictions.length
    ? table("Latest estimates", ["Time", "Estimate", "80% interval", "House"], predictions.map(prediction =>
      [time(prediction.created_at), el("b", {}, price(prediction.predicted_price)), range(prediction.interval), house(prediction)]))
    : el("p", { class: "soft" }, "No estimates yet."));
}
