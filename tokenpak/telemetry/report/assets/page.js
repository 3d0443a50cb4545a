"use strict";
// What the page can do beyond its tables: the chart, filters, tooltips, light or dark.
// Nothing of the log becomes markup: all text goes through textContent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const DIMENSIONS = ["error_type", "provider", "model", "kind"];
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const number = (n) => n.toLocaleString("en-US");
  const svg = (name, attributes, parent) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  };
  const html = (name, text, parent, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    if (parent) parent.append(made);
    return made;
  };
  const sum = (list) => list.reduce((a, b) => a + b, 0);

  // Light or dark.
  const theme = byId("theme");
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
  const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    nameTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  nameTheme();

  // Which records are looked at: an index of a name, or -1 for all.
  const chosen = { error_type: -1, provider: -1, model: -1, kind: -1 };
  const selects = {};
  const fits = (cell, but) =>
    DIMENSIONS.every((d, i) => d === but || chosen[d] < 0 || cell.names[i] === chosen[d]);
  const cells = data.cells.map(([names, before, series]) => {
    const full = new Array(data.slots).fill(0);
    for (const [slot, count] of series) full[slot] = count;
    return { names, before, series: full, now: sum(full) };
  });
  const unfiltered = () => DIMENSIONS.every((d) => chosen[d] < 0);

  // The chart.
  const chart = byId("chart");
  const tip = byId("tip");
  const said = byId("said");
  const legend = byId("legend");
  const TOP = 5;
  let stacks = [];
  let slotAt = -1;
  let geometry = null;

  const count = () => {
    const groups = new Map();
    for (const cell of cells) {
      if (!fits(cell)) continue;
      const type = cell.names[0];
      if (!groups.has(type)) groups.set(type, new Array(data.slots).fill(0));
      const series = groups.get(type);
      cell.series.forEach((n, i) => { series[i] += n; });
    }
    // A colour belongs to a type, whatever is chosen: the most frequent types of all.
    const made = [];
    const rest = new Array(data.slots).fill(0);
    for (const [type, series] of [...groups].sort((a, b) => a[0] - b[0])) {
      if (type < TOP) made.push({ name: data.names.error_type[type], colour: type, series });
      else series.forEach((n, i) => { rest[i] += n; });
    }
    if (sum(rest)) made.push({ name: "others", colour: TOP, series: rest });
    return made;
  };
  const nice = (most) => {
    const step = 10 ** Math.floor(Math.log10(Math.max(most, 1) / 4 || 1));
    for (const factor of [1, 2, 5, 10]) {
      const size = Math.max(1, step * factor);
      if (most / size <= 4) return size;
    }
    return step * 10;
  };
  const two = (n) => String(n).padStart(2, "0");
  const clock = (ms) => {
    const at = new Date(ms);
    return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  };
  const day = (ms) => {
    const at = new Date(ms);
    return `${at.toLocaleString("en-US", { month: "short", timeZone: "UTC" })} ${at.getUTCDate()}`;
  };
  const label = (slot) => {
    const from = data.since + slot * data.slot;
    const to = from + data.slot;
    return `${day(from)}, ${clock(from)} to ${clock(to)} UTC`;
  };
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 20160].map((m) => m * 60000);

  const draw = () => {
    stacks = count();
    const width = Math.max(chart.parentElement.clientWidth, 200);
    const height = chart.clientHeight || 240;
    const ghost = unfiltered() ? data.before : null;
    const totals = new Array(data.slots).fill(0);
    for (const stack of stacks) stack.series.forEach((n, i) => { totals[i] += n; });
    const most = Math.max(1, ...totals, ...(ghost || []));
    const step = nice(most);
    const peak = Math.ceil(most / step) * step;
    const right = 6, top = 10, bottom = 26;
    const left = Math.max(44, 16 + 7 * number(peak).length);
    const inner = width - left - right;
    const y = (n) => top + (height - top - bottom) * (1 - n / peak);
    const x = (slot) => left + (inner * slot) / data.slots;
    geometry = { left, inner, width, totals };
    chart.replaceChildren();
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (let n = 0; n <= peak; n += step) {
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(n), y2: y(n) }, chart);
      svg("text", { x: left - 8, y: y(n) + 4, "text-anchor": "end" }, chart).textContent = number(n);
    }
    const length = data.slot * data.slots;
    const wanted = Math.max(2, Math.floor(inner / 90));
    const every = STEPS.find((s) => length / s <= wanted) || length;
    for (let at = Math.ceil(data.since / every) * every; at < data.since + length; at += every) {
      const text = every >= 86400000 || at % 86400000 === 0 ? day(at) : clock(at);
      const place = left + (inner * (at - data.since)) / length;
      if (place > width - 24) continue;
      svg("line", { class: "grid", x1: place, x2: place, y1: y(0), y2: y(0) + 5 }, chart);
      svg("text", { x: place, y: height - 6, "text-anchor": place < left + 12 ? "start" : "middle" }, chart).textContent = text;
    }
    const gap = inner / data.slots > 5 ? 1.5 : 0.3;
    const below = new Array(data.slots).fill(0);
    for (const stack of stacks) {
      stack.series.forEach((n, i) => {
        if (!n) return;
        const base = y(below[i]);
        below[i] += n;
        svg("rect", {
          class: `f${stack.colour}`, x: x(i) + gap / 2, width: inner / data.slots - gap,
          y: y(below[i]), height: Math.max(base - y(below[i]), 0.5),
        }, chart);
      });
    }
    if (ghost) {
      const line = ghost.map((n, i) => `H${x(i).toFixed(1)}V${y(n).toFixed(1)}H${x(i + 1).toFixed(1)}`);
      svg("path", { class: "ghost", d: `M${left} ${y(ghost[0])}${line.join("")}` }, chart);
    }
    geometry.cursor = svg("rect", { class: "cursor", y: top, height: height - top - bottom, width: inner / data.slots, x: 0, visibility: "hidden" }, chart);
    geometry.x = x;
    legend.replaceChildren();
    for (const stack of stacks) {
      const item = html("li", undefined, legend);
      const box = svg("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, item);
      svg("rect", { class: `f${stack.colour}`, width: 10, height: 10, rx: 2 }, box);
      html("span", `${stack.name} ${number(sum(stack.series))}`, item);
    }
    if (ghost && sum(ghost)) {
      const item = html("li", undefined, legend);
      const box = svg("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, item);
      svg("path", { class: "ghost", d: "M0 5H10" }, box);
      html("span", `the window before ${number(sum(ghost))}`, item);
    }
    chart.dataset.drawn = String(sum(totals));
  };
  const point = (slot) => {
    slotAt = slot;
    if (slot < 0 || slot >= data.slots) {
      tip.hidden = true;
      geometry.cursor.setAttribute("visibility", "hidden");
      return;
    }
    geometry.cursor.setAttribute("x", geometry.x(slot));
    geometry.cursor.setAttribute("visibility", "visible");
    tip.replaceChildren();
    html("b", label(slot), tip);
    const words = [];
    const row = (name, n) => {
      const line = html("span", undefined, tip);
      html("i", name, line);
      html("span", number(n), line);
      words.push(`${name} ${n}`);
    };
    for (const stack of stacks) if (stack.series[slot]) row(stack.name, stack.series[slot]);
    row("all", geometry.totals[slot]);
    if (unfiltered()) row("before", data.before[slot]);
    tip.hidden = false;
    said.textContent = `${label(slot)}: ${words.join(", ")}`;
    const at = geometry.x(slot) + geometry.inner / data.slots / 2;
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(at > geometry.width / 2 ? at - wide - 14 : at + 14, geometry.width - wide))}px`;
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = event.clientX - box.left - geometry.left;
    point(at < 0 ? -1 : Math.floor((at / geometry.inner) * data.slots));
  });
  chart.addEventListener("pointerleave", () => point(-1));
  chart.addEventListener("blur", () => point(-1));
  chart.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") point(-1);
    if (!move) return;
    event.preventDefault();
    point(Math.max(0, Math.min(data.slots - 1, slotAt < 0 ? (move > 0 ? 0 : data.slots - 1) : slotAt + move)));
  });

  // The tables by name follow what is chosen; a table is not narrowed by its own choice.
  const ratio = (now, before) => {
    if (!before) return now ? "new" : "–";
    const r = now / before;
    return `${r < 0.995 ? r.toFixed(2) : r < 9.95 ? r.toFixed(1) : number(Math.round(r))} ×`;
  };
  const recount = () => {
    const all = unfiltered();
    DIMENSIONS.forEach((dimension, at) => {
      const now = [], before = [];
      for (const cell of cells) {
        if (!fits(cell, dimension)) continue;
        const name = cell.names[at];
        now[name] = (now[name] || 0) + cell.now;
        before[name] = (before[name] || 0) + cell.before;
      }
      const rows = document.querySelectorAll(`tr[data-by="${dimension}"]`);
      const most = Math.max(1, ...now.filter(Number.isFinite), ...before.filter(Number.isFinite));
      for (const row of rows) {
        const name = Number(row.dataset.index);
        const button = row.querySelector("button.pick");
        button.setAttribute("aria-pressed", String(chosen[dimension] === name));
        if (all) {
          for (const cell of row.querySelectorAll("[data-was]")) cell.textContent = cell.dataset.was;
          for (const bar of row.querySelectorAll("[data-width]")) bar.setAttribute(bar.dataset.name, bar.dataset.width);
          row.classList.remove("none");
          row.querySelector(".ratio").classList.toggle("rises", row.dataset.rises === "1");
          continue;
        }
        const n = now[name] || 0, b = before[name] || 0;
        row.querySelector(".now").textContent = number(n);
        row.querySelector(".before").textContent = number(b);
        row.querySelector(".ratio").textContent = ratio(n, b);
        row.querySelector(".ratio").classList.toggle("rises", n > 0 && n >= 1.5 * b);
        row.querySelector(".fill").setAttribute("width", (100 * n) / most);
        row.querySelector(".tick").setAttribute("x", Math.min(99, (100 * b) / most));
        row.classList.toggle("none", !n && !b);
      }
    });
    for (const row of document.querySelectorAll("tr[data-type]")) {
      row.hidden = chosen.error_type >= 0 && row.dataset.type !== data.names.error_type[chosen.error_type];
    }
    const reset = byId("reset");
    reset.hidden = all;
    draw();
    point(-1);
  };
  const choose = (dimension, index) => {
    chosen[dimension] = index;
    if (selects[dimension]) selects[dimension].value = String(index);
    recount();
  };
  const filters = byId("filters");
  for (const dimension of DIMENSIONS) {
    const names = data.names[dimension];
    if (names.length < 2) continue;
    const box = html("label", data.titles[dimension], null);
    const select = html("select", undefined, box);
    html("option", "all", select).value = "-1";
    names.forEach((name, i) => { html("option", name, select).value = String(i); });
    select.addEventListener("change", () => choose(dimension, Number(select.value)));
    filters.insertBefore(box, byId("reset"));
    selects[dimension] = select;
  }
  filters.hidden = Object.keys(selects).length === 0;
  byId("reset").addEventListener("click", () => {
    for (const dimension of DIMENSIONS) choose(dimension, -1);
  });
  for (const row of document.querySelectorAll("tr[data-by]")) {
    const button = row.querySelector("button.pick");
    if (!selects[row.dataset.by]) continue;
    button.disabled = false;
    button.addEventListener("click", () => {
      const index = Number(row.dataset.index);
      choose(row.dataset.by, chosen[row.dataset.by] === index ? -1 : index);
    });
  }
  byId("chart-card").hidden = false;
  recount();
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  });
  addEventListener("beforeprint", draw);
})();
