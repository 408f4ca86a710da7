// Where each node of a tree stands: depth to the right, leaves downward, parents beside the middle of their children.

// Positions in rows and columns for the nodes that are not under a folded one. Parents come before children.
function layoutTree(tree, folded) {
  const count = tree.parent.length;
  const children = Array.from({ length: count }, () => []);
  const roots = [];
  for (let node = 0; node < count; node += 1) {
    const parent = tree.parent[node];
    (parent < 0 ? roots : children[parent]).push(node);
  }
  const depth = new Int32Array(count), row = new Float64Array(count).fill(-1);
  for (let node = 0; node < count; node += 1) depth[node] = tree.parent[node] < 0 ? 0 : depth[tree.parent[node]] + 1;
  const order = []; // shown nodes, from the top down as a reader meets them
  const waiting = [...roots].reverse();
  let rows = 0;
  while (waiting.length) {
    const node = waiting.pop();
    order.push(node);
    if (folded.has(node) || !children[node].length) { row[node] = rows; rows += 1; } else waiting.push(...[...children[node]].reverse());
  }
  for (let place = order.length - 1; place >= 0; place -= 1) {
    const node = order[place];
    if (row[node] < 0) row[node] = (row[children[node][0]] + row[children[node][children[node].length - 1]]) / 2;
  }
  return { children, roots, depth, row, order, rows, columns: 1 + order.reduce((most, node) => Math.max(most, depth[node]), 0) };
}

// The nodes on the way to a node, itself included.
function pathTo(tree, node) {
  const found = new Set();
  while (node !== null && node >= 0) { found.add(node); node = tree.parent[node]; }
  return found;
}
