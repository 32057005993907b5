// Accuracy measured on recorded sales, and drift from the training data.
import { ask } from "./asking.js";
import { el, figures, find, number, percent, table, words } from "./drawing.js";

const MIN_ESTIMATES = 100;  // the service needs as many to measure drift

/** Whether there are too few estimates for drift, so that it must be loaded again after the next one. */
export let fewEstimates = false;

const soft = text => el("p", { class: "soft" }, text);
const counted = (count, noun) => `${number(count, 0)} ${noun}${count === 1 ? "" : "s"}`;

/** Show the accuracy. Throws a Refusal. */
export async function showAccuracy() {
  const { sales, unmatched, estimated_after_sale: late, overall } = await ask("accuracy");
  if (!overall) {
    const reason = sales ? `${counted(sales, "recorded sale")}, but none of a house that was estimated here before it sold.`
      : "No sales of estimated houses have been recorded.";
    find("accuracy").replaceChildren(soft(`Nothing to measure yet. ${reason}`));
    return;
  }
  const bounds = overall.bounds.mdape;
  const marked = name => overall.out_of_range?.includes(name);  // a replica of an older release sends no list
  const coverage = overall.coverage.map(({ level, share }) => [percent(share), `of sale prices in the ${level}% interval`, marked(`coverage_${level}`)]);
  find("accuracy").replaceChildren(
    el("p", {}, `Based on ${counted(overall.n, "recorded sale")} of houses that were estimated here.`),
    figures([
      [percent(overall.mdape), `median error${bounds ? ` (95% bounds: ${number(bounds.low, 1)} to ${number(bounds.high, 1)})` : ""}`],
      [percent(overall.ppe10), "of estimates within 10% of the sale price"],
      ...marked("cod") ? [[number(overall.cod, 1), "coefficient of dispersion (COD)", true]] : [],
      ...coverage.slice(0, 1),
    ]));
  const skipped = [unmatched && `${counted(unmatched, "sale")} with an unknown prediction id`, late && `${counted(late, "sale")} not estimated before the day of sale`];
  if (unmatched || late) find("accuracy").append(soft(`Skipped: ${skipped.filter(Boolean).join("; ")}.`));
}

/** Show the drift. Throws a Refusal. */
export async function showDrift() {
  let drift;
  try {
    drift = await ask("drift");
  } catch (refusal) {
    if (refusal.kind !== "no-snapshot") throw refusal;
    find("drift").replaceChildren(soft("This model has no training snapshot, so drift can't be measured. Models that you train have one."));
    return;
  }
  fewEstimates = drift.n < MIN_ESTIMATES;
  if (fewEstimates) {
    find("drift").replaceChildren(soft(`Too few estimates to measure drift: ${drift.n} of the ${MIN_ESTIMATES} needed.`));
    return;
  }
  const shifts = [["Estimates", drift.estimates], ...Object.entries(drift.features).map(([name, shift]) => [words(name), shift])];
  const moved = shifts.filter(([, shift]) => shift.movement !== "stable").sort(([, one], [, other]) => other.psi - one.psi);
  find("drift").replaceChildren(el("p", {}, moved.length
    ? `Over the last ${counted(drift.n, "estimate")}, these have moved away from the training data:`
    : `Over the last ${counted(drift.n, "estimate")}, houses and prices are as in the training data.`));
  if (moved.length) {
    find("drift").append(table("Drifted features", ["Feature", "Movement", "PSI", "Expected by chance"],
      moved.map(([name, shift]) => [name, el("span", { class: `movement ${shift.movement}` }, shift.movement), number(shift.psi, 2), `below ${number(shift.chance, 2)}`])));
  }
}
