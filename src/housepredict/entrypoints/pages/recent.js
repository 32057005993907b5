// What was estimated lately, by whomever.
import { ask } from "./asking.js";
import { el, find, price, table, time, told, words } from "./drawing.js";

const ABOUT = new Set(["id", "predicted_price", "created_at", "interval", "fsd", "model_version", "generation", "valued_on", "warnings"]);
const SHOWN = 4;  // features of a house that are shown

function house(prediction) {
  const features = Object.entries(prediction).filter(([name]) => !ABOUT.has(name));
  const first = features.slice(0, SHOWN).map(([name, value]) => `${words(name)} ${told(value)}`).join(" · ");
  return features.length > SHOWN ? `${first} · …` : first;
}

const between = interval => {
  const narrowest = Object.keys(interval ?? {}).sort()[0];
  return narrowest ? `${price(interval[narrowest].low)} to ${price(interval[narrowest].high)}` : "–";
};

/** Show them. Throws a Refusal. */
export async function showRecent() {
  const { predictions } = await ask("predictions?limit=8");
  find("recent").replaceChildren(predictions.length
    ? table("The latest estimates", ["When", "Estimate", "Range", "House"], predictions.map(each =>
      [time(each.created_at), el("b", {}, price(each.predicted_price)), between(each.interval), house(each)]))
    : el("p", { class: "soft" }, "Nothing was estimated yet."));
}
