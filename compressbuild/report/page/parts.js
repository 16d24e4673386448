/* ---- a metric, row by row ---- */
const mainMetric = data.quality && data.quality.metric ? data.quality.metric : data.quality;
const worthShowing = (b) => "base" in Object.values(b.rows)[0] || Object.keys(b.rows).length > 1;
const cell = (value) => (typeof value === "boolean" ? (value ? "yes" : "no") : number(value, ""));
const fallen = (r) => r.base !== null && r.value !== null && r.value - r.base <= -0.05;
function bar(share, bad) {
  return h("span", { class: "track" }, h("span", { class: `bar ${bad ? "worse" : ""}`, style: `width:${100 * Math.max(0, Math.min(1, share || 0))}%` }));
}
function comparedRows(b) {
  const rows = Object.entries(b.rows), shares = rows.every(([, r]) => r.value === null || (r.value >= 0 && r.value <= 1));
  const more = [...new Set(rows.flatMap(([, r]) => Object.keys(r)))].filter((k) => !["value", "base", "n"].includes(k));
  return table([b.by, shares ? "" : null, b.metric, "baseline", "change", "samples", ...more].filter((c) => c !== null), rows.map(([name, r]) => {
    const change = r.base === null || r.value === null ? null : r.value - r.base, fell = fallen(r);
    return row(...[name, shares ? h("td", { class: "text" }, bar(r.value, fell)) : undefined, number(r.value, ""), number(r.base, ""),
      h("td", { class: fell ? "worse" : "" }, change === null ? "–" : (change > 0 ? "+" : "") + change.toFixed(4)), r.n, ...more.map((k) => cell(r[k]))].filter((c) => c !== undefined));
  }));
}
/* Rows that are called noise-1, noise-3 …: a line for each kind, a column for each severity. */
function grid(b) {
  const parted = Object.entries(b.rows).map(([label, r]) => [/^(.+)-(\d+)$/.exec(label), r]);
  if (!parted.every(([m]) => m)) return null;
  const kinds = [...new Set(parted.map(([m]) => m[1]))], levels = [...new Set(parted.map(([m]) => Number(m[2])))].sort((p, q) => p - q);
  if (kinds.length < 2 || levels.length < 2) return null;
  const at = (kind, level) => b.rows[`${kind}-${level}`];
  return table([b.by, ...levels.map((l) => `severity ${l}`)], kinds.map((kind) => row(kind, ...levels.map((level) => {
    const r = at(kind, level);
    return r ? h("td", { class: fallen(r) ? "worse" : "", style: `background:color-mix(in srgb, var(--accent) ${Math.round(45 * Math.max(0, Math.min(1, r.value || 0)))}%, transparent)` }, number(r.value, ""), r.base === null ? "" : h("span", { class: "faint" }, ` (${number(r.base, "")})`)) : "–";
  }))));
}
function breakdownPart(b) {
  const compared = "base" in Object.values(b.rows)[0], columns = [...new Set(Object.values(b.rows).flatMap((r) => Object.keys(r)))];
  const gridded = compared ? grid(b) : null;
  const body = gridded ? h("div", {}, h("p", { class: "faint" }, "In brackets: the baseline. Red: 0.05 or more below it."), gridded) : compared ? comparedRows(b)
    : table([b.by, ...columns], Object.entries(b.rows).map(([name, r]) => row(name, ...columns.map((k) => cell(r[k])))));
  return h("details", { open: compared && (b.metric === mainMetric || b.by !== "class") }, h("summary", {}, compared ? `${b.metric} of each ${b.by}` : `${b.metric}: ${b.by}`), body,
    b.left_out ? h("p", { class: "faint" }, `${b.left_out} more are in 'cbuild report --format json'.`) : "");
}

/* ---- layers ---- */
const plainName = (name) => name.replace(/_(quantized|fp16|bf16)$/, "");
const zeros = (r) => (r.n ? 1 - r.nonzero / r.n : 0);
const aspects = {
  size: ["bytes", (r) => r.bytes], zeros: ["% of the weights", (r) => 100 * zeros(r)],
  "signal to noise if rounded to 8 bits": ["dB, higher is safer", (r) => r.sqnr8 ?? null],
  "drop of the metric if it alone is in 8 bits": ["", (r) => r.drop_alone ?? null],
  "signal to noise of the outputs if it alone is in 8 bits": ["dB, higher is safer", (r) => r.sqnr_alone ?? null],
};
function spark(counts, label) {
  const made = (tag, attributes) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); return e; };
  const picture = made("svg", { viewBox: `0 0 ${4 * counts.length || 4} 100`, width: 110, height: 24, preserveAspectRatio: "none", "aria-hidden": "true", class: "spark" });
  picture.append(made("path", { d: counts.map((c, i) => `M${4 * i + 0.3},100v${-Math.max(c ? 3 : 0, c)}h3.4V100z`).join("") }));
  return h("span", { title: label }, picture);
}
const spread = (r) => `${r.name}: ${number(r.low, "")} to ${number(r.high, "")}`;
function layersPart(t) {
  const { rows, vectors } = data.layers[t.layers], base = byName[t.baseline], others = base && base !== t && base.layers !== t.layers ? data.layers[base.layers] : null;
  const beside = Object.fromEntries((others ? others.rows : []).map((r) => [plainName(r.name), r]));
  const known = Object.keys(aspects).filter((a) => rows.some((r) => aspects[a][1](r) !== null));
  const select = h("select", { "aria-label": "what is shown of the layers" }, known.map((a) => h("option", { value: a }, a)),
    h("optgroup", { label: "histogram of weights" }, rows.map((r, i) => (r.histogram.length > 1 ? h("option", { value: i }, r.name) : ""))));
  const canvas = h("canvas", { role: "img", "aria-label": `Bars of the layers; the table below has the same values` });
  const config = () => {
    const aspect = aspects[select.value], r = rows[select.value];
    const labels = aspect ? rows.map((x) => plainName(x.name)) : r.histogram.map((_, i) => number(r.low + ((i + 0.5) * (r.high - r.low)) / r.histogram.length, ""));
    const sets = [{ label: t.name, data: aspect ? rows.map(aspect[1]) : r.histogram, backgroundColor: css("--accent") }];
    if (aspect && others) sets.push({ label: base.name, data: rows.map((x) => { const o = beside[plainName(x.name)]; return o ? aspect[1](o) : null; }), backgroundColor: css("--faint") });
    return { type: "bar", data: { labels, datasets: sets }, options: { animation: false, maintainAspectRatio: false,
      scales: { x: { grid: { display: false }, ticks: { maxRotation: 60, autoSkip: true } }, y: { title: { display: true, text: aspect ? aspect[0] : "weights, tallest = 100" } } },
      plugins: { legend: { display: sets.length > 1, labels: { color: css("--ink") } } } } };
  };
  const [redraw, close] = plotted(canvas, config);
  select.addEventListener("change", redraw);
  const has = (key) => rows.some((r) => key in r);
  const left = (text) => h("th", { scope: "col", class: "text" }, text);
  const head = ["layer", left("of"), "shape", left("type"), "weights", "size", "zeros", has("sqnr8") ? "8-bit noise" : "", has("drop_alone") ? "drop alone in 8 bits" : "", left("weights that are not zero")].filter(Boolean);
  const body = rows.map((r) => row(...[r.name, h("td", { class: "text" }, r.op), r.shape.join("×"), h("td", { class: "text" }, r.dtype), number(r.n, ""), number(r.bytes, "B"),
    h("td", {}, `${(100 * zeros(r)).toFixed(1)} %`), has("sqnr8") ? number(r.sqnr8, "dB") : undefined, has("drop_alone") ? number(r.drop_alone, "") : undefined,
    h("td", { class: "text" }, r.nonfinite ? h("span", { class: "badge fail" }, `${r.nonfinite} not finite`) : "", r.histogram.length > 1
      ? h("button", { type: "button", class: "bare", "aria-label": `histogram of ${spread(r)}`, onclick: () => { select.value = rows.indexOf(r); redraw(); canvas.scrollIntoView({ block: "nearest" }); } }, spark(r.histogram, spread(r))) : "")].filter((c) => c !== undefined)));
  if (vectors.tensors) body.push(h("tr", { class: "faint" }, h("td", { colspan: 4 }, `${vectors.tensors} vectors: biases, norms`), h("td", {}, number(vectors.n, "")), h("td", {}, number(vectors.bytes, "B")), h("td", { colspan: head.length - 6 }, "")));
  const place = h("div", {}, h("label", {}, "show ", select), h("div", { class: "plot small" }, canvas), h("details", { open: rows.length <= 30 }, h("summary", {}, `${rows.length} layers with their weights`), table(head, body)));
  return [place, redraw, close];
}

/* ---- the error of each layer, in the order in which they run ---- */
function errorsPart(t) {
  const rows = t.errors, label = (r) => r.node || r.name, percent = (v) => `${(100 * v).toFixed(1)} %`;
  const canvas = h("canvas", { role: "img", "aria-label": "Signal lost and signal-to-noise ratio of each layer; the table below has the same values" });
  const config = () => ({ data: { labels: rows.map(label), datasets: [
    { type: "bar", label: "signal lost in the layer itself", data: rows.map((r) => 100 * r.lost), yAxisID: "y", backgroundColor: css("--accent") },
    { type: "line", label: "signal to noise beside the source", data: rows.map((r) => r.sqnr), yAxisID: "db", borderColor: css("--faint"), backgroundColor: css("--faint"), pointRadius: 2 }] },
    options: { animation: false, maintainAspectRatio: false, scales: { x: { grid: { display: false }, ticks: { maxRotation: 60, autoSkip: true } },
      y: { beginAtZero: true, title: { display: true, text: "% of the channels' signal" } }, db: { position: "right", grid: { drawOnChartArea: false }, title: { display: true, text: "dB, higher is better" } } },
    plugins: { legend: { labels: { color: css("--ink") } } } } });
  const [redraw, close] = plotted(canvas, config);
  const left = (text) => h("th", { scope: "col", class: "text" }, text), worst = Math.max(...rows.map((r) => r.lost));
  const body = rows.map((r) => row(label(r), h("td", { class: "text" }, r.op), h("td", { class: r.lost > 0.01 && r.lost === worst ? "worse" : "" }, percent(r.lost)), percent(r.share), percent(r.rounding), number(r.own, "dB"), number(r.sqnr, "dB")));
  const said = h("p", { class: "faint" }, "Each layer alone, on the inputs that it gets here, beside the same layer of the source; the last column has the errors of all layers before it, too.");
  const place = h("div", {}, said, h("div", { class: "plot small" }, canvas), h("details", { open: rows.length <= 30 }, h("summary", {}, `${rows.length} layers`),
    table(["layer", left("operators"), "lost here", "of all that is lost", "by rounding the output", "own signal to noise", "beside the source"], body)));
  return [place, redraw, close];
}
