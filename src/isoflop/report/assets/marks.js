// An arm's marker: the same shape and colour wherever the arm appears. Shapes are matplotlib's letters.

const SHAPES = {
  o: ["circle", "M8 2a6 6 0 1 0 .01 0z"],
  s: ["square", "M2.5 2.5h11v11h-11z"],
  "^": ["triangle-up", "M8 1.5 14.5 13.5h-13z"],
  v: ["triangle-down", "M8 14.5 14.5 2.5h-13z"],
  "<": ["triangle-left", "M1.5 8 13.5 1.5v13z"],
  ">": ["triangle-right", "M14.5 8 2.5 1.5v13z"],
  D: ["diamond", "M8 1 15 8 8 15 1 8z"],
  P: ["cross", "M5.5 1.5h5v4h4v5h-4v4h-5v-4h-4v-5h4z"],
  X: ["x", "M4.5 1.5 8 5l3.5-3.5 3 3L11 8l3.5 3.5-3 3L8 11l-3.5 3.5-3-3L5 8 1.5 4.5z"],
  p: ["pentagon", "M8 1.5 14.5 6.3 12 14H4L1.5 6.3z"],
  h: ["hexagon", "M8 1.2 14 4.6v6.8L8 14.8 2 11.4V4.6z"],
  8: ["octagon", "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z"],
};

const plotlySymbol = (arm) => SHAPES[arm.marker][0];

function mark(arm) {
  const path = s("path", { d: SHAPES[arm.marker][1] });
  return s("svg", { viewBox: "0 0 16 16", class: "marker", "aria-hidden": "true", style: armColours(arm) }, path);
}

// Both themes' colours of an arm, for the style sheet to choose from.
function armColours(arm) {
  return { cssText: `--arm-light:${arm.colour};--arm-dark:${arm.dark}` };
}

const named = (arm) => h("span", { class: "arm" }, mark(arm), arm.label);
