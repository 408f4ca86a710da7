// The first screen: a budget on a slider, and the sentence that was worked out for it. The sentences are looked up.

const STEPS = 1000;

const view = {
  summary: null,
  axis: 0,
  place: STEPS, // of the slider, 0 to STEPS
  hidden: new Set(), // labels of arms that charts leave out
  logarithmic: true,
  stale: false, // a live page that waits for a dialog to close before it draws what is new
};

const currentAxis = () => view.summary.axes[view.axis];
const armOf = (label) => view.summary.arms.find((arm) => arm.label === label);

// The slider's range: a little more than the arms' costs, on a logarithmic scale.
function sliderRange(axis) {
  const costs = view.summary.arms.map((arm) => arm.cost[axis.key]).filter((cost) => cost);
  const low = Math.min(...costs), high = Math.max(...costs);
  const margin = Math.max(1.08, (high / low) ** 0.04);
  return [low / margin, high * margin];
}

function budgetAt(axis, place) {
  const [low, high] = sliderRange(axis);
  return low * (high / low) ** (place / STEPS);
}

function placeOf(axis, budget) {
  const [low, high] = sliderRange(axis);
  return high > low ? Math.log(budget / low) / Math.log(high / low) : 0.5;
}

function answerAt(axis, budget) {
  let found = null;
  for (const answer of axis.answers) if (answer.budget <= budget * (1 + 1e-9)) found = answer;
  return found;
}

// The sentence with the winner's name, which it begins with, set off.
function sentenceParts(answer) {
  const kept = (text) => text.replace(/p (=|<) /g, "p\u00a0$1\u00a0").replace(/ %/g, "\u00a0%"); // no break inside
  const [before, after] = [answer.sentence.slice(0, answer.winner.length), answer.sentence.slice(answer.winner.length)];
  return [h("span", { class: "winner", style: armColours(armOf(answer.winner)) }, before), kept(after)];
}

function drawAnswer() {
  const { summary } = view;
  const axis = currentAxis();
  if (!axis || !axis.answers.length) {
    const { done, total } = summary.progress;
    show(at("sentence"), done < total
      ? `No arm is complete yet: ${done.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} attempts are made, so nothing is compared.`
      : "Nothing can be compared: see the notes below the table.");
    show(at("details"));
    return;
  }
  const budget = budgetAt(axis, view.place);
  const answer = answerAt(axis, budget);
  at("sentence").className = answer && answer.clear ? "clear" : "";
  if (answer) {
    show(at("sentence"), sentenceParts(answer));
    show(at("details"), answer.details.map((line) => h("p", {}, line)));
  } else {
    show(at("sentence"), `No arm is within ${inUnit(axis, budget)} per problem.`);
    show(at("details"), h("p", {}, `The cheapest takes ${inUnit(axis, axis.answers[0].budget)}.`));
  }
  const input = document.querySelector("#slider input");
  input.value = view.place;
  input.setAttribute("aria-valuetext", `${inUnit(axis, budget)}${axis.key === "money" ? "" : " per problem"}`);
  show(document.querySelector("#slider output"), inUnit(axis, budget));
  for (const tick of document.querySelectorAll("#slider .tick")) {
    tick.classList.toggle("within", Number(tick.dataset.cost) <= budget * (1 + 1e-9));
    tick.classList.toggle("wins", Boolean(answer) && tick.dataset.label === answer.winner);
  }
  moveBudget(budget);
}

function buildSlider() {
  const axis = currentAxis();
  if (!axis) return show(at("slider"));
  const ticks = view.summary.arms.filter((arm) => arm.cost[axis.key]).map((arm) => {
    const cost = arm.cost[axis.key];
    return h("button", {
      type: "button",
      class: "tick",
      tabindex: -1,
      title: `${arm.label}: ${inUnit(axis, cost)}`,
      "aria-hidden": "true",
      "data-cost": cost,
      "data-label": arm.label,
      style: { left: `${100 * placeOf(axis, cost)}%` },
      onclick: () => { view.place = Math.ceil(STEPS * placeOf(axis, cost) + 1e-6); drawAnswer(); },
    }, mark(arm));
  });
  const names = { flops: "FLOPs", seconds: "Seconds", tokens: "Tokens", money: "Money" };
  show(at("slider"),
    h("div", { class: "budget" },
      h("label", { for: "budget" }, "Budget per problem, at most ", h("output", { for: "budget" })),
      choice("Count the budget in", view.summary.axes.map((each, place) => [place, names[each.key]]), view.axis, (place) => {
        view.axis = place;
        view.place = STEPS;
        buildSlider();
        drawAnswer();
        drawCurve();
      })),
    h("div", { class: "track" },
      h("div", { class: "ticks" }, ticks),
      h("input", {
        type: "range", id: "budget", min: 0, max: STEPS, step: 1, value: view.place,
        oninput: (event) => { view.place = Number(event.target.value); drawAnswer(); },
      })));
}
