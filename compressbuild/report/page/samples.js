/* ---- samples that flipped, as pictures or text ---- */
/* rows: {sample, way, label, first, second} with an image (a PNG file in base64) or a text where that is known. */
/* counts: how many flipped each way. */
function samplesPart(rows, A, B, { looked, said, counts, command }) {
  const note = (text) => [h("p", { class: "faint" }, text)];
  if (said) return note(`The samples are not shown: ${said}.`);
  if (!looked) return note(`'${command}' shows what these samples are: pictures or text.`);
  if (!rows.some((r) => r.image || r.text)) return note("The samples are neither pictures nor text, so they have numbers only.");
  const card = (r) => h("figure", { class: r.text ? "wide" : null },
    r.image ? h("img", { src: `data:image/png;base64,${r.image}`, alt: `sample ${r.sample}`, loading: "lazy" }) : h("blockquote", { tabindex: r.text ? 0 : null }, r.text || "neither a picture nor text"),
    h("figcaption", {}, h("b", {}, `sample ${r.sample}`), " ", h("span", {}, `label ${r.label}`), " ", h("span", { class: r.first === r.label ? "better" : "worse" }, `${A}: ${r.first}`), " ", h("span", { class: r.second === r.label ? "better" : "worse" }, `${B}: ${r.second}`)));
  return [["lost", `Right in ${A}, wrong in ${B}`], ["won", `Wrong in ${A}, right in ${B}`]].flatMap(([way, words]) => {
    const own = rows.filter((r) => r.way === way);
    const more = counts[way] > own.length ? ` (the first ${own.length} of ${counts[way]})` : "";
    return own.length ? [h("h4", {}, words, h("span", { class: "faint" }, more)), h("div", { class: "samples" }, own.map(card))] : [];
  });
}
