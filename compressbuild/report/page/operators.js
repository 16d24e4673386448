/* ---- operators of two targets, side by side ---- */
const microseconds = (v) => (v === null ? "–" : v.toFixed(1));
/* found: the two profiles beside each other, or a sentence that says why there are none. */
function operatorsPart(found, A, B) {
  if (typeof found === "string") return [h("p", { class: "faint" }, `${found}.`)];
  const name = (text, more) => h("td", { class: `text ${more || ""}` }, text);
  const left = (text) => h("th", { scope: "col", class: "text" }, text);
  const times = (first, second, ratio) => [microseconds(first), microseconds(second), ratio === null || ratio === undefined ? "" : `×${ratio.toFixed(2)}`];
  const groups = found.layers.map((l) => {
    const pairs = l.operators.map((p) => {
      const ops = p.first && p.second ? (p.first.op === p.second.op ? p.first.op : `${p.first.op} → ${p.second.op}`) : (p.first || p.second).op;
      const said = p.first && p.second ? "" : h("span", { class: "badge warn" }, `only in ${p.first ? A : B}`);
      const us = (t) => (t ? t.us : null);
      return h("tr", { class: "inner hidden", "data-only": said ? "" : null }, h("td", { title: [p.first, p.second].filter(Boolean).map((t) => t.name).join(" → ") }, ops, " ", said),
        ...times(us(p.first), us(p.second), p.first && p.second && p.first.us ? p.second.us / p.first.us : null).map((c) => h("td", {}, c)), name(""));
    });
    const gone = l.first === null ? `only in ${B}` : l.second === null ? `only in ${A}` : "", alone = pairs.filter((r) => "only" in r.dataset).length;
    const toggle = h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
      const opened = toggle.getAttribute("aria-expanded") !== "true";
      toggle.setAttribute("aria-expanded", opened);
      for (const r of pairs) r.classList.toggle("hidden", !opened);
    } }, l.name || "of no module");
    return [h("tr", {}, h("td", {}, toggle), ...times(l.first, l.second, l.ratio).map((c) => h("td", {}, c)),
      name(gone || (alone ? `${alone} on one side` : ""), "note faint")), ...pairs];
  });
  const most = Math.max(...found.layers.flatMap((l) => [l.first || 0, l.second || 0]), 1e-9);
  const bars = (l) => h("span", { class: "pair", "aria-hidden": "true" }, [l.first, l.second].map((v, k) => h("span", { class: `bar ${k ? "" : "before"}`, style: `width:${(100 * (v || 0)) / most}%` })));
  groups.forEach(([line], i) => line.lastElementChild.prepend(bars(found.layers[i])));
  const rest = row("outside operators", ...times(found.rest[0], found.rest[1], null), name(""));
  return [h("p", { class: "faint" }, `${number(found.runs[0] / 1000, "ms")} and ${number(found.runs[1] / 1000, "ms")} a run under the profiler, batch ${found.batch}. Each was measured by itself: for the ratio of whole runs, see the metrics.`),
    h("p", {}, `Operators on one side only, because they were fused, removed or added: ${found.only_first} in ${A}, ${found.only_second} in ${B}.`),
    table([left("module"), `${A} µs`, `${B} µs`, "ratio", h("th", { scope: "col", class: "text note" }, `${A} above, ${B} below`)], [...groups.flat(), rest])];
}
