"use strict";
(() => {
  const CASES_SHOWN = 5;
  const CASES_STEP = 100;
  const PAGE_ROWS = 50;
  const SVG = "http://www.w3.org/2000/svg";
  const compare = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const findings = read("findings-data");
  const series = read("series-data");
  const RANK = { error: 0, warning: 1, note: 2 };

  const kinds = new Map();
  for (const node of document.querySelectorAll("details.kind:not(#ignored)")) {
    const severity = ["error", "warning", "note"].find((name) => node.classList.contains(name));
    kinds.set(node.id, { node, severity, title: node.dataset.title, all: [], shown: CASES_SHOWN });
  }

  /* Everything from the cohort is set as text; nothing is ever parsed as markup. */
  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }
  const lower = (...parts) => parts.join("\n").toLowerCase();
  const round = (value, digits) => (value === null ? "" : value.toFixed(digits));
  const shorten = (value) => (value === null ? "?" : String(Number(value.toPrecision(4))));
  const whole = (n, one, many) => `${n.toLocaleString("en").replaceAll(",", "\u202f")} ${n === 1 ? one : many}`;

  /* ---- which findings are whose ---- */
  const ofSeries = new Map();
  const ofPatient = new Map();
  const put = (map, key, value) => (map.has(key) ? map.get(key).push(value) : map.set(key, [value]));
  for (const finding of findings) {
    finding.words = lower(finding.id, finding.patient_id, finding.path, finding.text, ...finding.others);
    if (finding.ignored === null) kinds.get(finding.id).all.push(finding);
    for (const patient of new Set([finding.patient_id, ...finding.others])) {
      if (finding.modality) put(ofSeries, JSON.stringify([patient, finding.modality]), finding);
      else put(ofPatient, patient, finding);
    }
  }
  series.forEach((row, index) => {
    row.index = index;
    row.own = ofSeries.get(JSON.stringify([row.patient_id, row.modality])) || [];
    row.shared = ofPatient.get(row.patient_id) || [];
    row.every = [...row.own, ...row.shared].filter((finding) => finding.ignored === null);
    row.planeText = row.plane === null ? "unusable" : row.plane;
    row.worst = Math.min(3, ...row.own.filter((f) => f.ignored === null).map((f) => RANK[kinds.get(f.id).severity]));
    row.words = lower(row.patient_id, row.modality, row.planeText, row.directory, row.reason, ...Object.values(row.tags));
  });

  function badge(finding) {
    const ignored = finding.ignored !== null;
    const kind = ignored ? null : kinds.get(finding.id);
    const title = ignored ? `ignored: ${finding.ignored}` : `${kind.title}: ${finding.text}`;
    const style = ignored ? "ignored" : kind.severity;
    return element("a", { class: `badge ${style}`, href: ignored ? "#ignored" : `#${finding.id}`, title }, finding.id);
  }

  /* One badge a kind, with how often it was found. */
  function badges(findings) {
    const sameKind = new Map();
    for (const finding of findings) {
      const key = `${finding.id} ${finding.ignored !== null}`;
      sameKind.set(key, [...(sameKind.get(key) || []), finding]);
    }
    return [...sameKind.values()].map((same) => {
      const node = badge(same[0]);
      if (same.length > 1) node.textContent += ` ×${same.length}`;
      return node;
    });
  }

  /* ---- findings ---- */
  const findingForm = byId("finding-filters");
  const known = new Set([...ofPatient.keys(), ...series.map((row) => row.patient_id)].map((id) => id.toLowerCase()));

  /* Names, or parts of them, with | between; a whole name stands for that patient alone. */
  function patientTest(text) {
    const wanted = text.toLowerCase().split("|").map((name) => name.trim()).filter(Boolean);
    const one = (name) => wanted.some((part) => (known.has(part) ? name === part : name.includes(part)));
    return (...names) => !wanted.length || names.some((name) => one(name.toLowerCase()));
  }

  function patientLink(finding) {
    if (!finding.patient_id) return "cohort";
    const patients = [finding.patient_id, ...finding.others];
    const title = "Show the series concerned";
    const button = element("button", { type: "button", class: "link", title }, patients.join(", "));
    button.addEventListener("click", () => {
      seriesForm.reset();
      seriesForm.elements.patient.value = patients.join(" | ");
      const modality = [...seriesForm.elements.modality.options].find((option) => option.value === finding.modality);
      if (modality && finding.others.length === 0) modality.selected = true;
      showSeries();
      byId("series").scrollIntoView();
      seriesForm.elements.patient.focus({ preventScroll: true });
    });
    return button;
  }

  function caseRow(finding) {
    const path = finding.path ? element("span", { class: "path" }, finding.path) : null;
    return element("tr", {}, element("th", { scope: "row" }, patientLink(finding)),
      element("td", {}, finding.modality), element("td", {}, finding.text, path));
  }

  function showKind(kind) {
    kind.node.querySelector("tbody").replaceChildren(...kind.matching.slice(0, kind.shown).map(caseRow));
    const more = kind.node.querySelector(".more");
    more.replaceChildren();
    const hidden = kind.matching.length - kind.shown;
    if (hidden > 0) {
      const text = hidden > CASES_STEP ? `Show ${CASES_STEP} of ${hidden} more` : `Show ${hidden} more`;
      const button = element("button", { type: "button" }, text);
      button.addEventListener("click", () => { kind.shown += CASES_STEP; showKind(kind); });
      more.append(button);
    }
    const all = kind.all.length;
    const part = kind.matching.length < all ? `${kind.matching.length} of ${all}` : String(all);
    kind.node.querySelector(".tally").textContent = part;
    kind.node.hidden = kind.matching.length === 0;
  }

  function showFindings() {
    const wanted = Object.fromEntries(new FormData(findingForm));
    const isWanted = patientTest(wanted.patient);
    const text = wanted.text.trim().toLowerCase();
    let total = 0;
    for (const [id, kind] of kinds) {
      const here = (!wanted.severity || kind.severity === wanted.severity) && (!wanted.id || id === wanted.id);
      kind.matching = here ? kind.all.filter((finding) =>
        (!wanted.modality || finding.modality === wanted.modality)
        && isWanted(finding.patient_id, ...finding.others)
        && (!text || finding.words.includes(text) || kind.title.includes(text))) : [];
      kind.shown = CASES_SHOWN;
      total += kind.matching.length;
      showKind(kind);
    }
    for (const group of document.querySelectorAll(".severity-group")) {
      group.hidden = !group.querySelector("details.kind:not([hidden])");
    }
    const counting = findings.filter((finding) => finding.ignored === null).length;
    byId("finding-status").textContent =
      total === counting ? `${whole(total, "finding", "findings")}` : `${total} of ${whole(counting, "finding", "findings")}`;
    if (wanted.id) kinds.get(wanted.id).node.open = true;
  }

  /* ---- series ---- */
  const seriesForm = byId("series-filters");
  const table = byId("series-table");
  const body = table.querySelector("tbody");
  const nColumns = table.querySelectorAll("thead th").length;
  const hasLabels = table.querySelector("[data-key=label]") !== null;
  const sizeOf = (row) => (row.rows === null ? -1 : row.rows * row.columns);
  const KEYS = {
    patient: (a, b) => compare(a.patient_id, b.patient_id) || compare(a.modality, b.modality),
    modality: (a, b) => compare(a.modality, b.modality),
    label: (a, b) => (a.label ?? 2) - (b.label ?? 2),
    plane: (a, b) => compare(a.planeText, b.planeText),
    slices: (a, b) => (a.slices ?? -1) - (b.slices ?? -1),
    spacing: (a, b) => (a.slice_spacing_mm ?? -1) - (b.slice_spacing_mm ?? -1),
    size: (a, b) => sizeOf(a) - sizeOf(b),
    findings: (a, b) => a.worst - b.worst || b.own.length - a.own.length,
  };
  let view = [];
  let page = 0;
  let sort = { key: "patient", sign: 1 };
  const opened = new Set();

  function picture(row, alternative, className) {
    const data = byId(`montage-${row.index}`)?.textContent;
    if (!data) return null;
    return element("img", { class: className, alt: alternative, loading: "lazy", src: `data:image/jpeg;base64,${data}` });
  }

  /* The bar of the background stands far above all others: it is cut, so that tissue can be seen. */
  function histogram(row, width, height) {
    if (row.pixels === null || !row.pixels.histogram.counts.length) return null;
    const { low, high, counts: bins } = row.pixels.histogram;
    const tissue = 1.2 * Math.max(...bins.slice(2));
    const top = Math.min(Math.max(...bins), tissue || Infinity) || 1;
    const step = width / bins.length;
    const path = bins.map((value, i) => {
      const y = (height * (1 - Math.min(1, value / top))).toFixed(1);
      return `L${(i * step).toFixed(1)} ${y}L${((i + 1) * step).toFixed(1)} ${y}`;
    }).join("");
    const svg = document.createElementNS(SVG, "svg");
    const shape = document.createElementNS(SVG, "path");
    const label = `Intensities from ${shorten(low)} to ${shorten(high)}`;
    const box = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" };
    const named = { class: "histogram", role: "img", "aria-label": label };
    for (const [name, value] of Object.entries({ width, height, ...box, ...named })) svg.setAttribute(name, value);
    shape.setAttribute("d", `M0 ${height}${path}L${width} ${height}Z`);
    svg.append(shape);
    return svg;
  }

  const pair = (term, value) => (value ? [element("dt", {}, term), element("dd", {}, value)] : []);

  function detail(row) {
    const left = element("div", {}, picture(row, "", "large"));
    const wide = histogram(row, 320, 70);
    if (wide) {
      const ends = [row.pixels.histogram.low, row.pixels.histogram.high].map(shorten).map((text) => element("span", {}, text));
      left.append(element("div", {}, wide), element("div", { class: "axis" }, ...ends));
    }
    const list = [...row.own, ...row.shared].map((finding) => {
      const why = finding.ignored === null ? `${kinds.get(finding.id).title}: ` : `ignored (${finding.ignored}): `;
      const path = finding.path ? element("span", { class: "path" }, finding.path) : null;
      return element("li", {}, badge(finding), ` ${why}`, finding.text, path);
    });
    left.append(element("ul", {}, ...list));
    const spacing = row.pixel_spacing_mm && row.pixel_spacing_mm.map((value) => round(value, 3)).join(" x ");
    const right = element("dl", {},
      ...pair("Folder", row.directory), ...pair("Taken for", `${row.modality}: ${row.reason}`),
      ...pair("Pixel spacing", spacing && `${spacing} mm`), ...pair("Orientation", row.orientation),
      ...pair("Missing slices", row.missing_slices ? String(row.missing_slices) : ""),
      ...pair("Blank slices", row.pixels && row.pixels.blank_slices ? String(row.pixels.blank_slices) : ""),
      ...pair("Identifying tags", row.identifying.join(", ")),
      ...Object.entries(row.tags).flatMap(([name, value]) => pair(name, value)));
    const cell = element("td", { colspan: nColumns }, element("div", { class: "detail-grid" }, left, right));
    return element("tr", { class: "detail", id: `detail-${row.index}` }, cell);
  }

  function seriesRow(row) {
    const open = opened.has(row.index);
    const button = element("button", {
      type: "button", class: "link", "aria-expanded": String(open), title: "Show what is known of this series",
    }, row.patient_id);
    if (open) button.setAttribute("aria-controls", `detail-${row.index}`);
    button.addEventListener("click", () => {
      if (!opened.delete(row.index)) opened.add(row.index);
      const fresh = seriesRow(row);
      node.replaceWith(...(open ? [fresh] : [fresh, detail(row)]));
      if (open) byId(`detail-${row.index}`)?.remove();
      fresh.querySelector("button").focus();
    });
    const errors = row.shared.filter((f) => f.ignored === null && kinds.get(f.id).severity === "error");
    const slices = row.slices === null ? "" : String(row.slices);
    const gaps = row.missing_slices ? element("span", { class: "muted" }, ` (${row.missing_slices} missing)`) : null;
    const label = row.label === null ? "unknown" : row.label ? "methylated" : "unmethylated";
    const node = element("tr", {},
      element("th", { scope: "row" }, button),
      element("td", {}, row.modality),
      hasLabels ? element("td", {}, label) : null,
      element("td", {}, row.planeText),
      element("td", { class: "number" }, slices, gaps),
      element("td", { class: "number" }, round(row.slice_spacing_mm, 2)),
      element("td", { class: "number" }, row.rows === null ? "" : `${row.rows} x ${row.columns}`),
      element("td", {}, picture(row, `Middle slices of ${row.modality} of patient ${row.patient_id}`, "strip")),
      element("td", {}, histogram(row, 110, 40)),
      element("td", {}, element("div", { class: "badges" }, ...badges([...row.own, ...errors]))));
    return node;
  }

  function showPage() {
    const pages = Math.max(1, Math.ceil(view.length / PAGE_ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const rows = view.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
    body.replaceChildren(...rows.flatMap((row) => (opened.has(row.index) ? [seriesRow(row), detail(row)] : [seriesRow(row)])));
    byId("series-page").textContent = `Page ${page + 1} of ${pages}`;
    for (const button of document.querySelectorAll("[data-step]")) {
      const next = page + Number(button.dataset.step);
      button.disabled = next < 0 || next >= pages;
    }
    const from = view.length ? page * PAGE_ROWS + 1 : 0;
    const status = `${from} to ${page * PAGE_ROWS + rows.length} of ${whole(view.length, "series", "series")}`;
    byId("series-status").textContent = view.length === series.length ? status : `${status} (${series.length} in all)`;
  }

  function sortSeries() {
    view.sort((a, b) => sort.sign * KEYS[sort.key](a, b) || KEYS.patient(a, b));
  }

  function matchesFinding(row, wanted) {
    if (!wanted) return true;
    if (wanted === "any") return row.every.length > 0;
    if (wanted === "none") return row.every.length === 0;
    if (wanted in RANK) return row.every.some((finding) => kinds.get(finding.id).severity === wanted);
    return row.every.some((finding) => finding.id === wanted);
  }

  function showSeries() {
    const wanted = Object.fromEntries(new FormData(seriesForm));
    const isWanted = patientTest(wanted.patient);
    const text = wanted.text.trim().toLowerCase();
    view = series.filter((row) => matchesFinding(row, wanted.finding)
      && (!wanted.modality || row.modality === wanted.modality)
      && (!wanted.plane || row.planeText === wanted.plane)
      && isWanted(row.patient_id)
      && (!text || row.words.includes(text)));
    page = 0;
    sortSeries();
    showPage();
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (!button) return;
    const key = button.dataset.key;
    sort = { key, sign: sort.key === key ? -sort.sign : 1 };
    for (const heading of table.tHead.querySelectorAll("th")) heading.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", sort.sign > 0 ? "ascending" : "descending");
    page = 0;
    sortSeries();
    showPage();
  });
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      page += Number(button.dataset.step);
      showPage();
      byId("series").scrollIntoView();
    });
  }
  for (const [form, show] of [[findingForm, showFindings], [seriesForm, showSeries]]) {
    form.addEventListener("input", show);
    form.addEventListener("reset", () => setTimeout(show));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /* A link to a kind shows it, also where a filter hides it. */
  function follow() {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (!(target instanceof HTMLDetailsElement)) return;
    if (target.hidden) { findingForm.reset(); showFindings(); }
    target.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details")) node.open = true;
  });

  showFindings();
  showSeries();
  follow();
  /* The pictures stand behind this script, so that the page is there before they are. */
  document.addEventListener("DOMContentLoaded", showPage);
})();
