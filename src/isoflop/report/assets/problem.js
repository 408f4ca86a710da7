// One problem: its question, and what every arm made of it, side by side.

const opened = { place: null, data: null };

async function openProblem(place) {
  const problem = view.summary.problems[place];
  if (!problem) return;
  const dialog = at("problem");
  opened.place = place;
  if (!dialog.open) dialog.showModal();
  show(dialog, problemBar(place, problem), h("p", { class: "note" }, "opening…"));
  let data;
  try {
    data = await source.problem(place);
  } catch (error) {
    show(dialog, problemBar(place, problem), h("p", { class: "note" }, `This problem cannot be read: ${error.message}`));
    return;
  }
  if (opened.place !== place) return;
  opened.data = data;
  show(dialog, problemBar(place, problem),
    h("div", { class: "ask" }, modelText(data.question, "h2"), h("p", { class: "gold" }, "Gold answer: ", h("b", {}, oneLine(problem.gold ?? "none", 200)))),
    data.trees ? null : h("p", { class: "note" }, "The trees of this problem did not fit into the file."),
    h("div", { class: "cards" }, data.attempts.map((attempt, index) => card(attempt, index, data))));
  dialog.scrollTop = 0;
}

function neighbour(place, step) {
  const order = grid.rows.map((row) => row.place);
  const now = order.indexOf(place);
  const next = now < 0 ? undefined : order[now + step];
  return next === undefined ? null : next;
}

function problemBar(place, problem) {
  const go = (step, text, label) => {
    const next = neighbour(place, step);
    return h("button", { type: "button", class: "quiet", disabled: next === null, "aria-label": label, onclick: () => { location.hash = `#problem/${next}`; } }, text);
  };
  return h("div", { class: "dialog-bar" },
    h("h1", { id: "problem-title" }, `Problem ${oneLine(problem.id, 40)}`),
    go(-1, "←", "Previous problem"), go(1, "→", "Next problem"),
    closer("problem"));
}

const outcomeWord = { correct: "right", wrong: "wrong", no_answer: "no answer", unverifiable: "not verifiable", ungraded: "not graded", error: "failed" };
const stopWord = { finished: "", budget: "stopped by the budget", depth: "a path was cut by depth", no_candidates: "no candidates", error: "stopped by an error" };

function card(attempt, index, data) {
  const arm = view.summary.arms[attempt.arm];
  const several = view.summary.study.seeds.length > 1 ? `, seed ${attempt.seed}` : "";
  const facts = [
    attempt.flops ? flopsText(attempt.flops) : null, `${attempt.tokens.toLocaleString("en-US")} tokens`,
    attempt.seconds ? `${threeDigits(attempt.seconds)} s` : null, `${attempt.size.toLocaleString("en-US")} nodes`,
  ].filter(Boolean).join(" · ");
  const said = [stopWord[attempt.stop], attempt.message].filter(Boolean).join(": ");
  return h("article", { class: `card ${attempt.outcome}`, style: armColours(arm) },
    h("header", {}, named(arm), several, h("span", { class: "verdict" }, outcomeWord[attempt.outcome])),
    h("p", { class: "final" }, attempt.answer === null ? "no answer" : oneLine(attempt.answer, 120)),
    h("p", { class: "hint" }, facts),
    said ? h("p", { class: "note" }, visible(said)) : null,
    attempt.tied.length > 1 ? h("p", { class: "hint" }, `${attempt.tied.length} answers tied; drawn by seeded chance`) : null,
    data.trees && attempt.size ? h("button", { type: "button", onclick: () => { location.hash = `#tree/${opened.place}/${index}`; } }, "Open the tree") : null,
    h("div", { class: "solution", tabindex: 0, role: "region", "aria-label": `Chosen solution of ${arm.label}` },
      attempt.path.length ? attempt.path.map((text) => modelText(data.texts[text], "span")) : h("p", { class: "note" }, "No solution was chosen.")),
    data.trees && attempt.votes.length > 1 ? votesOf(attempt) : null);
}

function votesOf(attempt) {
  const rows = attempt.votes.map(([node, answer, weight, outcome]) => h("tr", { class: node === attempt.chosen ? "chosen" : "" },
    h("td", { class: "left" }, answer === null ? "no answer" : oneLine(answer, 40)), h("td", {}, weight === null ? NOTHING : weight.toFixed(3)), h("td", { class: "left" }, outcomeWord[outcome])));
  return h("details", {}, h("summary", {}, `${attempt.votes.length} solutions in the vote`),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "left" }, "answer"), h("th", {}, "weight"), h("th", { class: "left" }, "graded"))), h("tbody", {}, rows)));
}
