const [A, B] = [data.first, data.second];
const signed = (v, digits = 4) => (v > 0 ? "+" : "") + v.toFixed(digits);
const tone = { better: "pass", faster: "pass", worse: "fail", slower: "fail" };
const verdictBadge = (v) => h("span", { class: `badge ${tone[v] || ""}` }, v);
const ROUND = [1, ...[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99].flatMap((r) => [r, 1 / r])];
/* Ticks at round ratios, on an axis of their logarithms. */
function ratioTicks(axis) {
  const room = (axis.max - axis.min) / 16, kept = [];
  for (const v of ROUND.map(Math.log2)) if (v >= axis.min && v <= axis.max && kept.every((k) => Math.abs(k - v) >= room)) kept.push(v);
  axis.ticks = kept.sort((a, b) => a - b).map((value) => ({ value }));
}

/* An interval on a line, with the value that would mean no change. */
function strip(low, value, high, neutral, said, label) {
  const ends = [low, high, value, neutral], least = Math.min(...ends), room = (Math.max(...ends) - least || 1) * 1.2, from = least - room / 12;
  const at = (v) => `${(100 * (v - from)) / room}%`;
  return h("div", { class: "strip", role: "img", "aria-label": label },
    h("span", { class: "zero", style: `left:${at(neutral)}` }), h("span", { class: "range", style: `left:${at(low)};width:${(100 * (high - low)) / room}%` }),
    h("span", { class: "dot", style: `left:${at(value)}` }), h("span", { class: "mark faint", style: `left:${at(neutral)}` }, said));
}

function verdict() {
  const place = $("verdict"), q = data.quality, l = data.speed, sizes = data.sizes;
  const worse = (q && q.verdict === "worse") || (l && l.verdict === "slower");
  place.className = worse ? "bad" : "good";
  const facts = [];
  if (q) facts.push(h("div", {}, h("span", {}, q.metric), h("b", {}, `${number(q.first, "")} → ${number(q.second, "")}`), verdictBadge(q.verdict)));
  if (l) facts.push(h("div", {}, h("span", {}, l.metric), h("b", {}, `×${l.ratio.toFixed(3)}`), verdictBadge(l.verdict)));
  if (sizes && sizes[0]) facts.push(h("div", {}, h("span", {}, "size"), h("b", {}, `×${(sizes[1] / sizes[0]).toFixed(3)}`), sizes[0] === sizes[1] ? "" : verdictBadge(sizes[1] < sizes[0] ? "smaller" : "larger")));
  place.append(h("p", { class: "faint" }, "Verdict"), h("div", { class: "name" }, data.verdict), h("div", { class: "facts" }, facts),
    ...Object.entries(data.missing).map(([what, why]) => h("p", { class: "warning", role: "note" }, `not compared: ${what}: ${why}`)));
}
Object.assign(tone, { smaller: "pass", larger: "warn" });

function quality() {
  const q = data.quality;
  if (!q) return $("quality").remove();
  const both = Math.round(q.first * q.n) - q.only_first, neither = q.n - both - q.only_first - q.only_second;
  const answers = Object.fromEntries(data.flipped.map((f) => [f.sample, f]));
  const flips = [...q.lost.map((s) => [s, "now wrong"]), ...q.won.map((s) => [s, "now right"])];
  const head = (text) => h("th", { scope: "row" }, text);
  $("quality").append(
    h("p", {}, `${q.metric}: ${number(q.first, "")} → ${number(q.second, "")} on the same ${q.n} samples, difference ${signed(q.difference)}, 95 % interval ${signed(q.low)} to ${signed(q.high)} (bootstrap).`),
    strip(q.low, q.difference, q.high, 0, "no change", `difference ${signed(q.difference)}, from ${signed(q.low)} to ${signed(q.high)}`),
    h("p", {}, `McNemar's test (${q.test}): p = ${q.p.toPrecision(3)} `, verdictBadge(q.verdict)),
    table(["samples", `${B} right`, `${B} wrong`], [h("tr", {}, head(`${A} right`), h("td", {}, both), h("td", {}, q.only_first)), h("tr", {}, head(`${A} wrong`), h("td", {}, q.only_second), h("td", {}, neither))]));
  if (!flips.length) return $("quality").append(h("p", {}, "No sample flipped."));
  const known = data.flipped.length > 0, body = flips.map(([sample, said]) => {
    const f = answers[sample];
    return row(...[String(sample), h("td", { class: `text ${said === "now wrong" ? "worse" : "better"}` }, said), ...(known ? [f ? f.label : null, f ? f.first : null, f ? f.second : null] : [])]);
  });
  const filter = h("select", { "aria-label": "which samples are listed" }, ["all that flipped", "now wrong", "now right"].map((o) => h("option", { value: o }, o)));
  filter.addEventListener("change", () => body.forEach((r, i) => r.classList.toggle("hidden", filter.value !== "all that flipped" && flips[i][1] !== filter.value)));
  $("quality").append(h("details", { open: flips.length <= 40, id: "flips" }, h("summary", {}, `${flips.length} samples flipped`), h("p", {}, h("label", {}, "list ", filter)),
    table(["sample", h("th", { scope: "col", class: "text" }, ""), ...(known ? ["label", A, B] : [])], body)));
}

function speed() {
  const l = data.speed;
  if (!l) return $("speed").remove();
  const said = l.low === null ? "" : `, 95 % interval ×${l.low.toFixed(3)} to ×${l.high.toFixed(3)}`;
  $("speed").append(h("p", {}, `×${l.ratio.toFixed(3)}${said}; measured ${l.how} `, verdictBadge(l.verdict)),
    l.low === null ? "" : strip(l.low, l.ratio, l.high, 1, "as fast", `ratio ${l.ratio.toFixed(3)}, from ${l.low.toFixed(3)} to ${l.high.toFixed(3)}`),
    h("p", { class: "faint" }, `Median: ${number(l.first, unit(l.metric))} and ${number(l.second, unit(l.metric))}. Only the ratio carries over to other machines.`));
}

function samples() {
  const answers = Object.fromEntries(data.flipped.map((f) => [f.sample, f])), known = data.samples !== null && typeof data.samples === "object" ? data.samples : {};
  const all = data.quality ? [["lost", data.quality.lost], ["won", data.quality.won]].flatMap(([way, numbers]) => numbers.filter((n) => n in answers).slice(0, data.most).map((n) => ({ way, ...answers[n], ...known[n] }))) : [];
  if (!all.length) return $("samples").remove();
  const said = typeof data.samples === "string" ? data.samples : null;
  $("samples").append(...samplesPart(all, A, B, { looked: data.samples !== null, said, counts: { lost: data.quality.lost.length, won: data.quality.won.length }, command: `cbuild compare ${A} ${B} --samples --format html` }));
}

function operators() {
  if (data.operators === null) $("operators").remove(); else $("operators").append(...operatorsPart(data.operators, A, B));
}

function metrics() {
  if (!data.rows.length) return $("rows").remove();
  const drawn = data.rows.filter((r) => r.ratio !== null && r.ratio > 0), canvas = h("canvas", { role: "img", "aria-label": "Ratio of each metric; the table below has the same values" });
  const paintOf = (r) => (r.better === null ? css("--faint") : css(r.better ? "--good" : "--bad"));
  const [redraw] = plotted(canvas, () => ({ type: "bar", data: { labels: drawn.map((r) => r.metric), datasets: [{ data: drawn.map((r) => Math.log2(r.ratio)), backgroundColor: drawn.map(paintOf) }] },
    options: { indexAxis: "y", animation: false, maintainAspectRatio: false, plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => `×${(2 ** item.raw).toFixed(3)}` } } },
      scales: { x: { title: { display: true, text: `${B} / ${A}; green is better, red worse` }, grace: "5%", afterBuildTicks: ratioTicks, ticks: { callback: (v) => `×${Number((2 ** v).toPrecision(3))}` } }, y: {} } } }));
  if (drawn.length) $("rows").append(h("div", { class: "plot", style: `height:${70 + 26 * drawn.length}px` }, canvas));
  $("rows").append(table(["metric", A, B, "ratio", h("th", { scope: "col", class: "text" }, "")], data.rows.map((r) => row(r.metric, number(r.first, r.unit), number(r.second, r.unit),
    r.ratio === null ? null : `×${r.ratio.toFixed(3)}`, h("td", { class: `text ${r.better === null ? "" : r.better ? "better" : "worse"}` }, r.better === null ? "" : r.better ? "better" : "worse")))));
  if (drawn.length) { redraw(); painted.push(redraw); }
}

$("about").textContent = `is ${B} better than ${A}? · ${new Date(1000 * data.time).toLocaleString()}`;
$("foot").textContent = `compressbuild ${data.version}. What is not paired (every metric but quality and speed) may differ by chance.`;
verdict(); quality(); speed(); metrics(); samples(); operators();
const shown = data.breakdowns.filter((b) => "base" in Object.values(b.rows)[0]);
if (shown.length) $("tables").append(...shown.map(breakdownPart)); else $("tables").remove();
root.dataset.ready = "yes";
