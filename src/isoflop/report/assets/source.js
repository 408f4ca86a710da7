// Where the data comes from: blobs in this file, or (live) the server that this page came from.

const config = JSON.parse(at("config").textContent);

async function inflate(packed) {
  const text = atob(packed);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// The whole file is there: problems and Plotly stand at its end, behind the first screen.
const parsed = new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done);
  else done();
});

const source = {
  known: new Map(),

  async summary() {
    if (!config.live) return JSON.parse(await inflate(at("data-summary").textContent));
    return (await fetch("summary")).json();
  },

  async problem(place) {
    await parsed;
    if (!this.known.has(place)) {
      if (this.known.size > 40) this.known.clear();
      this.known.set(place, config.live ? this.fetched(place) : inflate(at(`problem-${place}`).textContent).then(JSON.parse));
    }
    return this.known.get(place);
  },

  async fetched(place) {
    const answer = await (await fetch(`problem/${place}`)).json();
    if (answer.error) throw new Error(answer.error);
    return answer;
  },

  // Plotly is unpacked after the first paint; the policy knows its hash.
  async plotly() {
    await parsed;
    const script = document.createElement("script");
    script.textContent = await inflate(at("data-plotly").textContent);
    document.head.append(script);
    return window.Plotly;
  },
};
