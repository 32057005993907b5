// How far estimates were off, by the sales that came back, and how far houses have moved from those of the training.
import { ask } from "./asking.js";
import { el, figures, find, number, percent, table, words } from "./drawing.js";

const ENOUGH = 100;  // estimates that it takes to say something of drift

/** Whether an estimate more changes what is said of drift. */
export let fewEstimates = false;

const soft = text => el("p", { class: "soft" }, text);
const many = (count, what) => `${number(count, 0)} ${what}${count === 1 ? "" : "s"}`;

/** Show how far estimates were off. Throws a Refusal. */
export async function showAccuracy() {
  const { sales, unmatched, estimated_after_sale: late, overall: whole } = await ask("accuracy");
  if (!whole) {
    const because = sales ? `${many(sales, "sale")} came back, and none of a house that was estimated here before it sold.`
      : "No house that was estimated here is known to have sold.";
    find("accuracy").replaceChildren(soft(`Nothing to measure yet. ${because}`));
    return;
  }
  const bounds = whole.bounds.mdape;
  const marked = name => whole.out_of_range?.includes(name);  // a replica of an older release sends none
  const covered = whole.coverage.map(each => [percent(each.share), `of the prices in their ${each.level} % interval`, marked(`coverage_${each.level}`)]);
  find("accuracy").replaceChildren(
    el("p", {}, `${many(whole.n, "sale")} of houses that were estimated here came back.`),
    figures([
      [percent(whole.mdape), `median error${bounds ? `, with bounds ${number(bounds.low, 1)} to ${number(bounds.high, 1)}` : ""}`],
      [percent(whole.ppe10), "of the estimates within 10 % of the price"],
      ...marked("cod") ? [[number(whole.cod, 1), "coefficient of dispersion (COD)", true]] : [],
      ...covered.slice(0, 1),
    ]));
  const left = [unmatched && `${many(unmatched, "sale")} of predictions that are not known`, late && `${many(late, "sale")} from before the estimate`];
  if (unmatched || late) find("accuracy").append(soft(`Left out: ${left.filter(Boolean).join("; ")}.`));
}

/** Show how far houses have moved. Throws a Refusal. */
export async function showDrift() {
  let drift;
  try {
    drift = await ask("drift");
  } catch (refusal) {
    if (refusal.kind !== "no-snapshot") throw refusal;
    find("drift").replaceChildren(soft("This model kept nothing of what it was trained on, so that drift cannot be told. One that you train does."));
    return;
  }
  fewEstimates = drift.n < ENOUGH;
  if (fewEstimates) {
    find("drift").replaceChildren(soft(`Too few estimates to say: ${drift.n} of the ${ENOUGH} that it takes.`));
    return;
  }
  const all = [["Estimates", drift.estimates], ...Object.entries(drift.features).map(([name, each]) => [words(name), each])];
  const moved = all.filter(([, each]) => each.movement !== "stable").sort(([, one], [, other]) => other.psi - one.psi);
  find("drift").replaceChildren(el("p", {}, moved.length
    ? `Over ${many(drift.n, "estimate")}, this is not as it was in training:`
    : `Over ${many(drift.n, "estimate")}, houses and prices are as they were in training.`));
  if (moved.length) {
    find("drift").append(table("What has moved", ["What", "Movement", "Stability index", "Expected by chance"],
      moved.map(([name, each]) => [name, el("span", { class: `movement ${each.movement}` }, each.movement), number(each.psi, 2), `below ${number(each.chance, 2)}`])));
  }
}
