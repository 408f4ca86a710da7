// Charts, drawn by Plotly in the page's colours. They show what the summary holds and compute nothing.

const charts = { plotly: null, drawn: new Map() };
// Measures are not arms, but are drawn as arms are: a colour for light and one for dark pages, a marker, a dash.
const MEASURES = {
  "pass@k": { colour: "#332288", dark: "#a79be0", marker: "o", dash: "solid" },
  "weighted@k": { colour: "#117733", dark: "#63b57c", marker: "D", dash: "solid" },
  "best@k": { colour: "#0077AA", dark: "#66c2e8", marker: "v", dash: "dashdot" },
  "maj@k": { colour: "#CC6677", dark: "#dd8f9b", marker: "^", dash: "dash" },
};
// Roles are not arms: they have colours of their own.
const ROLES = { policy: "#7d8794", thought: "#b58a3c", reward: "#5f9ea0" };

// Plotly reads a little HTML in its labels: none of ours is meant.
const plain = (text) => visible(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function baseLayout(more) {
  const ink = theme.of("ink"), soft = theme.of("soft"), line = theme.of("line");
  const axis = {
    gridcolor: line, linecolor: line, zeroline: false, ticks: "outside", tickcolor: line, ticklen: 4,
    tickfont: { color: soft }, title: { font: { color: soft, size: 13 }, standoff: 10 }, automargin: true, fixedrange: true,
  };
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    font: { family: theme.of("font"), size: 13, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 16, t: 12, b: 52 },
    showlegend: false, hovermode: "closest", dragmode: false,
    hoverlabel: { bgcolor: theme.of("raised"), bordercolor: line, font: { color: ink, family: theme.of("font"), size: 13 }, align: "left" },
    xaxis: { ...axis, showgrid: false, ...xaxis, title: { ...axis.title, text: xaxis.name || "" } },
    yaxis: { ...axis, ...yaxis, title: { ...axis.title, text: yaxis.name || "" } },
    ...rest,
  };
}

// Charts are drawn when they come near the window, and all before printing.
const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    charts.drawn.get(target.dataset.chart).near = true;
    redraw(target.dataset.chart);
  }
}, { rootMargin: "400px" });

// A figure that is drawn once Plotly is there, and again where the theme or the data change.
function figure(name, label, height, make) {
  const room = h("div", { class: "chart", role: "img", "aria-label": label, "data-chart": name, style: { minHeight: `${height}px` } });
  charts.drawn.set(name, { room, height, make, near: false });
  nearby.observe(room);
  return room;
}

function redraw(name) {
  const { room, height, make, near } = charts.drawn.get(name);
  if (!charts.plotly || !room.isConnected || !(near || theme.printing)) return;
  const { traces, layout } = make();
  charts.plotly.react(room, traces, { ...baseLayout(layout), height }, { displayModeBar: false, responsive: true });
}

const redrawAll = () => { for (const name of charts.drawn.keys()) redraw(name); };

function logTicks(values, most = 7) {
  // Plain numbers at 1, 2, 5 of each decade, fewer where they would run together.
  const low = Math.min(...values), high = Math.max(...values);
  const decades = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)); power += 1) decades.push(power);
  if (high < 2.5 * low) return linearTicks(low / 1.15, high * 1.15, Math.min(most, 5));
  for (const steps of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    const ticks = decades.flatMap((power) => steps.map((step) => step * 10 ** power)).filter((tick) => tick >= low / 1.3 && tick <= high * 1.3);
    if (ticks.length <= most) return { tickvals: ticks, ticktext: ticks.map(tickText), tickangle: 0 };
  }
  const powers = decades.filter((_, place) => place % Math.ceil(decades.length / most) === 0).map((power) => 10 ** power);
  return { tickvals: powers, ticktext: powers.map(tickText), tickangle: 0 };
}

function linearTicks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return { tickvals: ticks, ticktext: ticks.map(tickText), tickangle: 0 };
}

function tickText(tick) {
  if (tick >= 1e6 || tick < 1e-3) return tick.toExponential(0).replace(/e\+?(-?\d+)/, " × 10<sup>$1</sup>").replace(/^1 × /, "");
  return Number(tick.toPrecision(3)).toLocaleString("en-US", { maximumSignificantDigits: 3 });
}

function costAxis(axis, values, logarithmic, most) {
  const low = Math.min(...values), high = Math.max(...values);
  if (!logarithmic) return { name: axis.label, type: "linear", rangemode: "tozero", range: [0, high * 1.06] };
  const margin = Math.max(1.15, (high / low) ** 0.06);
  return { name: axis.label, type: "log", range: [Math.log10(low / margin), Math.log10(high * margin)], ...logTicks(values, most) };
}

const shownArms = (key) => view.summary.arms.filter((arm) => arm.accuracy !== null && arm.cost[key] && !view.hidden.has(arm.label));

function armTraces(arms, axis) {
  const families = new Map();
  for (const arm of arms) families.set(arm.family, [...(families.get(arm.family) || []), arm]);
  return [...families.values()].map((members) => {
    members.sort((a, b) => a.cost[axis.key] - b.cost[axis.key]);
    const colour = theme.colour(members[0]);
    return {
      x: members.map((arm) => arm.cost[axis.key] / axis.size),
      y: members.map((arm) => 100 * arm.accuracy),
      error_y: {
        type: "data", symmetric: false, thickness: 1.2, width: 0, color: `${colour}77`,
        array: members.map((arm) => 100 * (arm.high - arm.accuracy)),
        arrayminus: members.map((arm) => 100 * (arm.accuracy - arm.low)),
      },
      mode: "lines+markers",
      line: { color: colour, width: 1.6 },
      marker: {
        color: members.map((arm) => (arm.complete ? colour : theme.of("paper"))), symbol: plotlySymbol(members[0]), size: 10,
        line: { color: members.map((arm) => (arm.complete ? theme.of("paper") : colour)), width: members.map((arm) => (arm.complete ? 1 : 2)) },
      },
      text: members.map((arm) => `<b>${plain(arm.label)}</b><br>${percent(arm.accuracy)} % [${percent(arm.low)}, ${percent(arm.high)}] of ${arm.n}<br>${plain(inUnit(axis, arm.cost[axis.key]))}${arm.complete ? "" : "<br>incomplete"}`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
}

function frontierTraces(axis) {
  const best = axis.frontier.map(armOf).filter((arm) => arm && arm.cost[axis.key]);
  if (best.length < 1) return [];
  const soft = theme.of("soft");
  const right = 1.5 * Math.max(...shownArms(axis.key).map((arm) => arm.cost[axis.key]), 0) / axis.size;
  return [
    {
      x: [...best.map((arm) => arm.cost[axis.key] / axis.size), right],
      y: [...best.map((arm) => 100 * arm.accuracy), 100 * best[best.length - 1].accuracy],
      mode: "lines", line: { color: soft, width: 1, shape: "hv" }, opacity: 0.6, hoverinfo: "skip",
    },
    {
      x: axis.mixture.map(([cost]) => cost / axis.size), y: axis.mixture.map(([, accuracy]) => 100 * accuracy),
      mode: "lines", line: { color: soft, width: 1.2, dash: "dot" }, hoverinfo: "skip",
    },
  ];
}

const accuracyAxis = { name: "accuracy (%)", rangemode: "normal" };

function budgetLine(axis, budget) {
  return [{
    type: "line", x0: budget / axis.size, x1: budget / axis.size, yref: "paper", y0: 0, y1: 1,
    line: { color: theme.of("ink"), width: 1, dash: "2px,3px" },
  }];
}

function drawCurve() {
  const axis = currentAxis();
  if (!axis) return show(at("curve"));
  const toggles = view.summary.arms.map((arm) => h("label", { class: "toggle" },
    h("input", {
      type: "checkbox", checked: !view.hidden.has(arm.label),
      onchange: (event) => {
        view.hidden[event.target.checked ? "delete" : "add"](arm.label);
        redrawAll();
      },
    }), named(arm)));
  show(at("curve"),
    h("div", { class: "tools" },
      h("p", { class: "hint" }, "Bars: 95 % intervals. Line: no arm is as accurate for less. Dots: the best mixture of two arms."),
      choice("Scale of the cost", [[true, "Log"], [false, "Linear"]], view.logarithmic, (value) => {
        view.logarithmic = value;
        redraw("curve");
      })),
    figure("curve", "Accuracy against cost with 95 % intervals and the frontier; the table below holds the same numbers", 420, () => {
      const arms = shownArms(axis.key);
      const values = arms.map((arm) => arm.cost[axis.key] / axis.size);
      return {
        traces: [...frontierTraces(axis), ...armTraces(arms, axis)],
        layout: {
          xaxis: values.length ? costAxis(axis, values, view.logarithmic) : { name: axis.label },
          yaxis: accuracyAxis,
          shapes: budgetLine(axis, budgetAt(axis, view.place)),
        },
      };
    }),
    h("fieldset", { class: "toggles" }, h("legend", {}, "Arms shown"), toggles));
}

let moving = 0;
function moveBudget(budget) {
  const drawn = charts.drawn.get("curve");
  if (!charts.plotly || !drawn || !drawn.room.isConnected || !drawn.room.layout) return;
  cancelAnimationFrame(moving);
  moving = requestAnimationFrame(() => charts.plotly.relayout(drawn.room, { shapes: budgetLine(currentAxis(), budget) }));
}

function drawPanels() {
  const panels = ["flops", "seconds"].map((key, place) => {
    const axis = view.summary.axes.find((each) => each.key === key);
    const title = `(${"ab"[place]}) accuracy – ${key === "flops" ? "FLOPs" : "runtime"}`;
    const body = axis
      ? figure(key, title, 300, () => {
        const arms = shownArms(key);
        const values = arms.map((arm) => arm.cost[key] / axis.size);
        return { traces: armTraces(arms, axis), layout: { xaxis: values.length ? costAxis(axis, values, true, 4) : {}, yaxis: accuracyAxis } };
      })
      : h("p", { class: "note" }, "This engine does not measure it.");
    return h("figure", {}, h("figcaption", {}, title), body);
  });
  show(at("panels"), h("h2", {}, "The published study's three panels"), h("div", { class: "three" }, panels, scorePanel()));
}

function scorePanel() {
  const scored = view.summary.arms.filter((arm) => arm.score);
  const title = "(c) efficiency score: % / TFLOP × % / s × 100";
  const body = scored.length
    ? figure("score", title, Math.max(300, 60 + 26 * scored.length), () => {
      const arms = view.summary.arms.filter((arm) => arm.score && !view.hidden.has(arm.label)).reverse();
      return {
        traces: arms.map((arm) => ({
          x: [arm.score], y: [plain(arm.label)], mode: "markers",
          error_x: { type: "data", symmetric: false, array: [arm.score_high - arm.score], arrayminus: [arm.score - arm.score_low], color: `${theme.colour(arm)}77`, thickness: 4, width: 0 },
          marker: { symbol: plotlySymbol(arm), color: theme.colour(arm), size: 9 },
          text: [`<b>${plain(arm.label)}</b><br>${threeDigits(arm.score)} [${threeDigits(arm.score_low)}, ${threeDigits(arm.score_high)}]`],
          hovertemplate: "%{text}<extra></extra>",
        })),
        layout: { xaxis: { type: "log", ...logTicks(arms.flatMap((arm) => [arm.score, arm.score_low, arm.score_high]).filter((value) => value > 0), 4) }, yaxis: { showgrid: false, tickfont: { size: 11 } } },
      };
    })
    : h("p", { class: "note" }, "It needs seconds, which this engine does not measure.");
  return h("figure", {}, h("figcaption", {}, title), body);
}

function drawCompute() {
  const { arms } = view.summary;
  const used = [...new Set(arms.flatMap((arm) => arm.parts.filter((part) => part.flops).map((part) => `${part.role} ${part.phase}`)))];
  const axis = view.summary.axes.find((each) => each.key === "flops");
  const intro = h("p", { class: "lead" }, "FLOPs per problem, as if each arm ran alone: what reading (prefill) and making tokens (decode) took, by role. The thin mark says what sharing nothing would have needed.");
  if (!axis || !used.length) return show(at("compute"), h("h2", {}, "Where the compute went"), h("p", { class: "note" }, "FLOPs were not recorded."));
  const swatches = used.map((name) => {
    const [role, phase] = name.split(" ");
    return h("span", { class: `swatch ${phase}`, style: { cssText: `--role:${ROLES[role]}` } }, h("i", { "aria-hidden": "true" }), name);
  });
  show(at("compute"), h("h2", {}, "Where the compute went"), intro, h("p", { class: "swatches" }, swatches),
    figure("compute", "FLOPs per problem by role and phase, one bar an arm", 70 + 30 * arms.length, () => {
      const listed = [...arms].reverse();
      const labels = listed.map((arm) => plain(arm.label));
      const bars = used.map((name) => {
        const [role, phase] = name.split(" ");
        const values = listed.map((arm) => (arm.parts.find((part) => `${part.role} ${part.phase}` === name) || { flops: 0 }).flops);
        return {
          type: "bar", orientation: "h", y: labels, x: values.map((value) => value / axis.size),
          marker: { color: ROLES[role], opacity: phase === "prefill" ? 0.55 : 1, pattern: phase === "prefill" ? { shape: "/", size: 5, solidity: 0.25 } : undefined },
          text: values.map((value) => `${name}: ${flopsText(value)}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
        };
      });
      const naive = {
        x: listed.map((arm) => arm.naive_flops / axis.size), y: labels, mode: "markers", marker: { symbol: "line-ns-open", size: 16, color: theme.of("soft"), line: { width: 1.5 } },
        text: listed.map((arm) => `sharing nothing: ${flopsText(arm.naive_flops)}`), hovertemplate: "%{text}<extra></extra>",
      };
      return { traces: [...bars, naive], layout: { barmode: "stack", bargap: 0.35, xaxis: { name: axis.label, showgrid: true, tickformat: ",", rangemode: "tozero" }, yaxis: { showgrid: false } } };
    }));
}

function drawEvidence() {
  const { calibrations, pools } = view.summary;
  const judged = calibrations.length
    ? [h("p", { class: "lead" }, "Is a solution's weight the chance that it is right? On the line it is; below it the reward promises too much."),
      figure("calibration", "Calibration of the rewards: weight against the share that was right", 360, calibrationFigure),
      h("ul", { class: "plain" }, calibrations.map((one) => h("li", {}, named(armOf(one.arm)), ` by ${one.reward}: expected calibration error ${one.error.toFixed(3)} over ${one.solutions.toLocaleString("en-US")} solutions`)))]
    : [h("p", { class: "note" }, "No arm weighed its solutions by a reward.")];
  const sampled = pools.length
    ? pools.map((pool, place) => h("figure", {},
      h("figcaption", {}, `From the samples of ${pool.arms.join(", ")}`),
      h("p", { class: "swatches" }, pool.curves.map((curve) => h("span", { class: "arm" }, mark(MEASURES[curve.measure]), curve.measure))),
      figure(`pool${place}`, "Accuracy by number of samples", 340, () => poolFigure(view.summary.pools[place]))))
    : [h("p", { class: "note" }, "No arm without an end of its own drew whole samples.")];
  show(at("evidence"), h("div", { class: "two" },
    h("div", {}, h("h2", {}, "Can the reward be believed?"), judged),
    h("div", {}, h("h2", {}, "One pool of samples, every k"), h("p", { class: "lead" }, "pass@k: some sample is right. The others: the answer that is chosen is."), sampled)));
}

function calibrationFigure() {
  const arms = view.summary.calibrations.filter((one) => !view.hidden.has(one.arm));
  const diagonal = { x: [0, 1], y: [0, 1], mode: "lines", line: { color: theme.of("soft"), width: 1, dash: "dot" }, hoverinfo: "skip" };
  const traces = arms.map((one) => {
    const arm = armOf(one.arm), colour = theme.colour(arm);
    return {
      x: one.bins.map((bin) => bin.predicted), y: one.bins.map((bin) => bin.observed), mode: "lines+markers",
      error_y: { type: "data", symmetric: false, array: one.bins.map((bin) => bin.observed_high - bin.observed), arrayminus: one.bins.map((bin) => bin.observed - bin.observed_low), color: `${colour}55`, thickness: 1, width: 0 },
      line: { color: colour, width: 1.3 }, marker: { color: colour, symbol: plotlySymbol(arm), size: 8 },
      text: one.bins.map((bin) => `<b>${plain(one.arm)}</b><br>weight ${bin.predicted.toFixed(3)}: ${percent(bin.observed)} % of ${bin.n} right`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  return { traces: [diagonal, ...traces], layout: { xaxis: { name: "mean weight", range: [-0.03, 1.03] }, yaxis: { name: "share right", range: [-0.03, 1.03] } } };
}

function poolFigure(pool) {
  const traces = pool.curves.flatMap((curve) => {
    const measure = MEASURES[curve.measure], colour = theme.colour(measure), { dash } = measure, symbol = plotlySymbol(measure);
    const bars = curve.bars.map(([k, low, high]) => ({ k, low, high, value: curve.accuracy[k - 1] }));
    return [
      { x: pool.k, y: curve.accuracy.map((value) => 100 * value), mode: "lines", line: { color: colour, width: 1.6, dash }, hoverinfo: "skip" },
      {
        x: bars.map((bar) => bar.k), y: bars.map((bar) => 100 * bar.value), mode: "markers", marker: { color: colour, symbol, size: 8 },
        error_y: { type: "data", symmetric: false, array: bars.map((bar) => 100 * (bar.high - bar.value)), arrayminus: bars.map((bar) => 100 * (bar.value - bar.low)), color: `${colour}55`, thickness: 1.2, width: 0 },
        text: bars.map((bar) => `<b>${curve.measure}</b>, k = ${bar.k}<br>${percent(bar.value)} % [${percent(bar.low)}, ${percent(bar.high)}]`), hovertemplate: "%{text}<extra></extra>",
      },
    ];
  });
  const ticks = pool.curves[0].bars.map(([k]) => k);
  return { traces, layout: { xaxis: { name: "samples k", type: "log", tickvals: ticks, ticktext: ticks.map(String) }, yaxis: accuracyAxis } };
}
