// Start: the sentence first, then the rest of the page, then Plotly. Live pages come back here when the run has moved.

function drawAbout() {
  const { study } = view.summary;
  show(at("about"), [
    [`Study ${study.name} (${study.hash}), ${study.problems}, ${study.split}, seeds ${study.seeds.join(", ")}`],
    [`Models: ${study.models.join("; ")}`],
    study.hardware.length ? [`Hardware: ${study.hardware.join("; ")}`] : null,
    study.started ? [`Started ${study.started}`] : null,
    ["Made by isoflop. This page loads nothing and sends nothing."],
  ].filter(Boolean).map(([line]) => h("p", {}, visible(line))));
}

function drawStatus() {
  const { done, total, failed } = view.summary.progress;
  const parts = done < total ? [`${done.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} attempts`] : [];
  if (failed) parts.push(`${failed} failed`);
  if (config.live) parts.unshift(view.summary.study.running ? "live" : "not running");
  show(at("status"), parts.join(" · "));
}

function drawAll() {
  view.stale = false;
  show(at("heading"), view.summary.study.heading);
  drawStatus();
  buildSlider();
  drawAnswer();
  drawCurve();
  drawTables();
  requestAnimationFrame(() => { drawPanels(); drawCompute(); drawEvidence(); drawProblems(); drawAbout(); route(); });
}

let routed = ""; // the address that is shown now

// #problem/12 and #tree/12/3 can be linked to, and the browser's back button closes what was opened.
function route() {
  routed = location.hash;
  const [kind, place, index] = location.hash.slice(1).split("/");
  if (kind !== "tree" && at("tree").open) at("tree").close();
  if (kind === "problem") openProblem(Number(place));
  else if (kind === "tree") openTree(Number(place), Number(index));
  else if (at("problem").open) at("problem").close();
}

// A dialog says a frame later that it was closed. Where a reader has gone on by then, the new address stays.
function closing(id, back) {
  at(id).addEventListener("close", () => {
    if (view.stale && !at("problem").open && !at("tree").open) drawAll();
    if (at(id).open || location.hash !== routed || !routed.startsWith(`#${id}/`)) return;
    history.replaceState(null, "", back() || location.pathname + location.search);
    routed = location.hash;
  });
}

async function follow() {
  let version = view.summary.version;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1500));
    try {
      const now = await (await fetch("version")).json();
      if (now.trouble) show(at("status"), visible(now.trouble));
      if (now.version === version) continue;
      view.summary = await source.summary();
      version = view.summary.version;
      source.known.clear();
      view.stale = at("problem").open || at("tree").open; // what is being read is not pulled away
      if (view.stale) drawStatus();
      else drawAll();
    } catch {
      show(at("status"), "the server of this page does not answer; trying again");
    }
  }
}

async function start() {
  theme.start();
  view.summary = await source.summary();
  drawAll();
  theme.listeners.push(redrawAll, () => drawTree());
  closing("problem", () => "");
  closing("tree", () => (at("problem").open ? `#problem/${opened.place}` : ""));
  window.addEventListener("hashchange", route);
  requestAnimationFrame(() => setTimeout(async () => {
    charts.plotly = await source.plotly();
    redrawAll();
    document.documentElement.dataset.ready = "true";
  }));
  if (config.live) follow();
}

start();
