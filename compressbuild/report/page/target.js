/* ---- one target ---- */
/* Samples that two targets do not both get right, by their number in the dataset. */
const flippedSaid = (found, words) => (found && found.count ? `${found.count} ${words} (${found.count > 1 ? "samples" : "sample"} ${found.samples.join(", ")}${found.count > found.samples.length ? ", …" : ""})` : "");
function metricRows(t) {
  const base = byName[t.baseline] || null;
  const rows = Object.keys(data.metrics).filter((m) => m in t.metrics).map((name) => {
    const m = t.metrics[name];
    const other = base && base !== t ? valueOf(base, name) : null, good = direction(name);
    const apart = data.metrics[name] && data.metrics[name].apart; /* values of different moments: only a ratio with its interval is compared */
    const shown = m.ratio_low != null ? (m.ratio_high < 1 ? "better" : m.ratio_low > 1 ? "worse" : "no difference shown") : "";
    const better = m.paired ? { better: "better", worse: "worse" }[m.paired.verdict] || "" : apart ? shown : other === null || good === "none" || m.value === other ? "" : (m.value < other) === (good === "lower") ? "better" : "worse";
    const change = m.ratio !== undefined ? interval(m).trim() : other && !apart ? `×${(m.value / other).toFixed(3)}` : "–";
    return row(h("td", { title: (data.metrics[name] || {}).summary || "" }, name), number(m.value, unit(name)), number(other, unit(name)), change, h("td", { class: `text ${better}` }, m.paired ? `${m.paired.verdict} (McNemar p = ${m.paired.p.toPrecision(2)})` : better, m.noisy ? ` (${busy})` : ""));
  });
  for (const [name, m] of Object.entries(t.metrics)) {
    const said = m.paired ? [["lost", "right only in the baseline"], ["won", "right only here"]].map(([way, words]) => flippedSaid(m.paired[way], words)).filter(Boolean) : [];
    if (said.length) rows.push(h("tr", {}, h("td", {}, ""), h("td", { colspan: 4, class: "wrap faint" }, `${name}: ${said.join("; ")}`)));
  }
  for (const [name, why] of Object.entries(t.unmeasured)) rows.push(h("tr", {}, h("td", {}, name), h("td", { colspan: 4, class: "wrap faint" }, `not measured: ${why}`)));
  return table(["metric", t.name, base && base !== t ? base.name : "baseline", "ratio", ""], rows);
}
const limitSaid = (g) => `${g.metric} ${g.limit} ${g.bound}${g.against ? ` of ${g.against}` : ""}`;
function gateRows(t) {
  return table(["gate", "got", "margin", "verdict", ""], t.gates.map((g) => row(limitSaid(g),
    number(g.value, "") + (g.low != null ? ` [${g.low.toFixed(3)}–${g.high.toFixed(3)}]` : ""), number(g.margin, ""),
    h("span", { class: `badge ${g.ok ? "pass" : "fail"}` }, g.verdict), h("td", { class: "wrap" }, g.reason || ""))));
}
function historyPart(t) {
  if (t.history.length === 1) return [h("p", { class: "faint" }, `Published once, ${new Date(1000 * t.history[0].time).toLocaleString()}. From the second time on, a plot of each metric stands here.`), () => {}, () => {}];
  const names = [...new Set(t.history.flatMap((e) => Object.keys(e.metrics)))];
  const select = h("select", { "aria-label": "metric of the history" }, names.map((n) => h("option", { value: n, selected: n === data.quality }, title(n))));
  const canvas = h("canvas", { role: "img", "aria-label": "history of the metric" });
  const when = (e) => new Date(1000 * e.time).toLocaleString();
  const place = h("div", {}, h("label", {}, "history of ", select), h("div", { class: "plot small" }, canvas),
    h("details", {}, h("summary", {}, "as a table"), table(["published", ...names], t.history.map((e) => row(when(e), ...names.map((n) => number(e.metrics[n], unit(n))))))));
  const [redraw, close] = plotted(canvas, () => ({
    type: "line", data: { labels: t.history.map(when), datasets: [{ data: t.history.map((e) => e.metrics[select.value] ?? null), borderColor: css("--accent"), backgroundColor: css("--accent"), tension: 0 }] },
    options: { animation: false, maintainAspectRatio: false, scales: { x: { ticks: { maxTicksLimit: 6 } }, y: { grace: "10%" } }, plugins: { legend: { display: false } } } }));
  select.addEventListener("change", redraw);
  return [place, redraw, close];
}
/* What goes in and comes out, and the lines that load it. */
function usePart(t) {
  const one = (way, seen) => (i) => row(way, h("td", { class: "text" }, h("code", {}, i.name)), h("td", { class: "text" }, i.shape.join(" × ") || "scalar"), h("td", { class: "text" }, i.dtype), h("td", { class: "text faint" }, seen ? "" : "as declared for the model"));
  const left = (text) => h("th", { scope: "col", class: "text" }, text), found = t.interface;
  return h("div", {}, found ? table(["", left("name"), left("shape"), left("type"), ""], [...found.inputs.map(one("input", found.seen)), ...found.outputs.map(one("output", found.seen))]) : "",
    t.loading ? h("pre", { tabindex: 0 }, `directory = "build/${t.name}"\n${t.loading}`) : "");
}
let leave = [];
function open(name, scroll) {
  const t = byName[name];
  for (const tab of $("tabs").children) {
    tab.setAttribute("aria-selected", tab.dataset.target === name);
    tab.tabIndex = tab.dataset.target === name ? 0 : -1;
  }
  for (const close of leave) close();
  const drawings = [];
  const drawn = ([place, redraw, close]) => { drawings.push([redraw, close]); return place; };
  const parts = [h("h3", { style: "margin-top:0;font-size:1.2em" }, name, " ", h("span", { class: `badge ${kind(t.state)}` }, t.state)),
    h("p", { class: "faint" }, `from ${t.source}${t.platform ? `, for ${t.platform}` : ""}${t.baseline ? `; baseline ${t.baseline}` : ""}${t.missing.length ? `; needs ${t.missing.join(", ")}` : ""}`),
    t.description ? h("p", {}, t.description) : "", t.tags.length ? h("p", { class: "faint" }, `tags: ${t.tags.join(", ")}`) : "",
    t.warnings.map((w) => h("p", { class: "warning", role: "note" }, `⚠ ${w.message}`)), h("h3", {}, "Metrics"), metricRows(t)];
  if (t.gates.length) parts.push(h("h3", {}, "Gates"), gateRows(t));
  if (t.interface || t.loading) parts.push(h("h3", {}, "How to use it"), usePart(t));
  parts.push(h("h3", {}, "Pipeline"), h("ol", {}, t.steps.map((s) => h("li", {}, h("b", {}, s.name), ` ${s.node}`, h("span", { class: "faint" },
    ` · ${s.kind} · ${s.status === "cached" ? "done" : s.status === "may run" ? "may run again" : "to run"}${s.seconds !== null ? ` · ${seconds(s.seconds)}` : ""}${s.size !== null ? ` · ${number(s.size, "B")}` : ""}`),
    params(s).length > 110 ? h("details", {}, h("summary", {}, "parameters"), h("code", {}, params(s))) : params(s) ? h("div", {}, h("code", { class: "faint" }, params(s))) : ""))));
  const shown = t.breakdowns.filter(worthShowing), rank = (b) => (b.metric === data.quality ? 0 : "base" in Object.values(b.rows)[0] ? 1 : 2);
  if (shown.length) parts.push(h("h3", {}, "In detail"), shown.sort((p, q) => rank(p) - rank(q)).map(breakdownPart));
  if (data.layers[t.layers]) parts.push(h("h3", {}, "Layers"), drawn(layersPart(t)));
  if (t.errors) parts.push(h("h3", {}, "Error of each layer"), drawn(errorsPart(t)));
  if (t.flipped) parts.push(h("h3", {}, `Samples that flipped, by ${t.flipped.metric}`), samplesPart(t.flipped.rows, t.baseline, t.name, { ...t.flipped, command: `cbuild report ${t.name} --samples` }));
  if (t.operators) parts.push(h("h3", {}, `Operators beside ${t.baseline}`), operatorsPart(t.operators, t.baseline, t.name));
  if (t.search) parts.push(h("h3", {}, "Search"), drawn(searchPart(t.search)));
  if (t.history.length) parts.push(h("h3", {}, "History"), drawn(historyPart(t)));
  const logs = Object.entries(t.logs);
  if (logs.length) parts.push(h("h3", {}, "Logs"), logs.map(([node, text]) => h("details", {}, h("summary", {}, node), h("pre", { tabindex: 0 }, text))));
  if (t.provenance) parts.push(h("details", {}, h("summary", {}, "provenance"), table(["file", "SHA-256"], t.provenance.subjects.map((s) => row(s.name, h("code", {}, s.sha256)))),
    table(["node", "action key"], t.provenance.steps.map((s) => row(s.name, h("code", {}, s.key || ""))))));
  $("panel").replaceChildren(...parts.flat());
  $("panel").setAttribute("aria-label", name);
  for (const [redraw] of drawings) redraw();
  leave = drawings.map(([, close]) => close);
  mark(t);
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  if (!scroll) return;
  $("targets").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  $("panel").focus({ preventScroll: true }); /* where the keyboard goes on from */
}
/* What makes the target, in the graph of all. */
const boxes = document.querySelectorAll(".graph g[data-box]");
function mark(t) {
  const own = new Set([...t.steps.map((s) => s.id), `t${data.targets.indexOf(t)}`]);
  for (const box of boxes) box.classList.toggle("own", own.has(box.dataset.box));
  $("graph-says").textContent = `Outlined: what makes ${t.name}. Click a target to see it.`;
}
for (const box of boxes) if (box.dataset.box[0] === "t") box.addEventListener("click", () => open(data.targets[Number(box.dataset.box.slice(1))].name, true));

function tabs() {
  for (const t of data.targets)
    $("tabs").append(h("button", { type: "button", role: "tab", "data-target": t.name, "aria-controls": "panel", onclick: () => open(t.name) }, t.name));
  $("tabs").addEventListener("keydown", (event) => {
    const all = [...$("tabs").children], at = all.indexOf(document.activeElement), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = step ? (at + step + all.length) % all.length : event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : null;
    if (to === null || at < 0) return;
    event.preventDefault();
    all[to].focus();
    open(all[to].dataset.target);
  });
}
