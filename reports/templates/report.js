"use strict";
document.documentElement.classList.add("scripted");
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = (arm) => `var(--arm-${data.arms.indexOf(arm)})`;
  const dash = (arm) => data.dashes[data.arms.indexOf(arm)];
  const hidden = new Set(data.arms.filter((arm) => !data.shown.includes(arm)));

  // Names come from specs: they are only ever set as text, never parsed as markup.
  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  function shape(name, attributes = {}, text = null) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    return node;
  }
  const canvas = (width, height) => shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const short = (name, most) => (name.length > most ? name.slice(0, most - 1) + "…" : name);
  const signed = (text) => text.replace("-", "−");

  // Scales: a value to a place, and the ticks between its ends.
  function scale(low, high, from, to, log) {
    const f = log ? Math.log10 : (x) => x;
    const place = (value) => from + ((f(value) - f(low)) / (f(high) - f(low) || 1)) * (to - from);
    place.ticks = (most) => (log ? logTicks(low, high, most) : ticks(low, high, most));
    return place;
  }
  function ticks(low, high, most) {
    const rough = (high - low) / most || 1;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((each) => each * unit >= rough);
    const found = [];
    for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step);
    return found;
  }
  function logTicks(low, high, most) {
    for (const digits of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const digit of digits) found.push(digit * 10 ** power);
      const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
      if (inside.length <= most || digits.length === 1) return inside.length > 1 ? inside : ticks(low, high, most);
    }
  }
  function brief(value) {
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= size) return `${+(value / size).toPrecision(3)}${unit}`;
    return signed(`${+value.toPrecision(3)}`);
  }
  const line = (xs, ys, x, y) => xs.map((each, i) => `${i ? "L" : "M"}${x(each).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");

  // Differences: one row per arm.
  function drawDifferences(place) {
    const rows = data.answer.filter((row) => row.difference_pp !== null);
    const narrow = place.clientWidth < 560;
    const width = Math.max(place.clientWidth, 280), step = narrow ? 46 : rows.length > 12 ? 24 : 34;
    const height = rows.length * step + 34;
    const longest = Math.max(...rows.map((row) => row.arm.length));
    const left = narrow ? 6 : Math.min(240, 24 + 7.2 * longest), right = narrow ? 6 : 150;
    const svg = canvas(width, height);
    const edge = data.margin || 0;
    let low = Math.min(-edge, 0, ...rows.map((row) => row.low_pp ?? row.difference_pp)), high = Math.max(edge, 0, ...rows.map((row) => row.high_pp ?? row.difference_pp));
    const pad = (high - low) * 0.06 || 1;
    const x = scale(low - pad, high + pad, left, width - right);
    if (data.margin) svg.append(shape("rect", { class: "margin", x: x(-edge), y: 0, width: x(edge) - x(-edge), height: height - 26 }));
    for (const tick of x.ticks(narrow ? 4 : 8)) {
      svg.append(shape("line", { class: tick ? "grid" : "axis", x1: x(tick), x2: x(tick), y1: 0, y2: height - 26 }));
      svg.append(shape("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, (tick > 0 ? "+" : "") + brief(tick)));
    }
    rows.forEach((row, index) => {
      const y = index * step + (narrow ? 34 : step / 2);
      const group = shape("g");
      group.append(shape("title", {}, `${row.arm}: ${row.text} pp`));
      group.append(shape("rect", { x: 0, y: index * step, width, height: step, fill: "transparent" }));
      const style = `stroke:${colour(row.arm)};fill:${colour(row.arm)}`;
      const judged = row.low_pp !== null; // hollow: one pair of runs, of which nothing is known but that they differ
      if (judged) group.append(shape("line", { x1: x(row.low_pp), x2: x(row.high_pp), y1: y, y2: y, style, "stroke-width": 2.2 }));
      group.append(shape("circle", { cx: x(row.difference_pp), cy: y, r: 4.6, style: judged ? style : `stroke:${colour(row.arm)};fill:none` }));
      group.append(shape("text", { class: "strong", x: narrow ? 6 : 0, y: narrow ? y - 16 : y + 4 }, short(row.arm, narrow ? 26 : 32)));
      group.append(shape("text", { x: width - 2, y: narrow ? y - 16 : y + 4, "text-anchor": "end" }, row.text));
      svg.append(group);
    });
    place.replaceChildren(svg);
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", "Differences in percentage points: " + rows.map((row) => `${row.arm} ${row.text}`).join("; "));
  }

  // Training curves: small multiples that share the arms shown and the epoch read.
  const curves = [];
  function addCurve(series) {
    const figure = element("figure", { class: "panel", tabindex: "0", role: "group", "aria-label": `${series.title} by epoch` });
    const place = element("div");
    const said = element("div", { "aria-live": "polite", class: "reading", hidden: "" });
    figure.append(element("figcaption", {}, series.title), place, said);
    const epochs = [...new Set(series.lines.flatMap((each) => each.epochs))].sort((a, b) => a - b);
    const panel = { series, figure, place, said, epochs, at: null };
    figure.addEventListener("pointermove", (event) => read(panel, panel.nearest?.(event.clientX)));
    figure.addEventListener("pointerleave", () => read(panel, null));
    figure.addEventListener("blur", () => read(panel, null));
    figure.addEventListener("keydown", (event) => {
      const now = panel.at === null ? -1 : epochs.indexOf(panel.at), last = epochs.length - 1;
      const target = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
      if (event.key === "Escape") read(panel, null);
      else if (target !== undefined) { event.preventDefault(); read(panel, epochs[target]); }
    });
    curves.push(panel);
    return figure;
  }
  function drawCurve(panel) {
    const width = Math.max(panel.place.clientWidth, 260), height = Math.round(Math.min(300, width * 0.58));
    const lines = panel.series.lines.filter((each) => !hidden.has(each.arm) && each.epochs.length);
    const log = panel.series.measure.endsWith("loss") && lines.every((each) => Math.min(...each.low) > 0);
    const svg = canvas(width, height);
    panel.lines = lines;
    if (lines.length) {
      let low = Math.min(...lines.flatMap((each) => each.low)), high = Math.max(...lines.flatMap((each) => each.high));
      if (!log) { const pad = (high - low) * 0.04 || 1; low -= pad; high += pad; }
      if (panel.series.measure.endsWith("accuracy")) high = Math.min(high, 100.5);
      const x = scale(panel.epochs[0], panel.epochs[panel.epochs.length - 1], 38, width - 6);
      const y = scale(low, high, height - 22, 6, log);
      for (const tick of y.ticks(6)) {
        svg.append(shape("line", { class: "grid", x1: 38, x2: width - 6, y1: y(tick), y2: y(tick) }));
        svg.append(shape("text", { x: 31, y: y(tick) + 4, "text-anchor": "end" }, brief(tick)));
      }
      for (const tick of x.ticks(6).filter(Number.isInteger))
        svg.append(shape("text", { x: x(tick), y: height - 5, "text-anchor": "middle" }, `${tick}`));
      for (const each of lines) {
        if (each.num_seeds < 2) continue;
        const back = line([...each.epochs].reverse(), [...each.low].reverse(), x, y).replace("M", "L");
        svg.append(shape("path", { d: `${line(each.epochs, each.high, x, y)}${back}Z`, style: `fill:${colour(each.arm)}`, opacity: 0.13 }));
      }
      for (const each of lines)
        svg.append(shape("path", { d: line(each.epochs, each.mean, x, y), style: `stroke:${colour(each.arm)}`, fill: "none",
          "stroke-width": 1.8, "stroke-linejoin": "round", "stroke-dasharray": dash(each.arm) }));
      for (const each of lines)
        for (const [epoch, value] of each.best)
          svg.append(shape("circle", { cx: x(epoch), cy: y(value), r: 2.8, style: `fill:${colour(each.arm)};stroke:var(--ground)` }));
      const pointer = shape("line", { class: "pointer", y1: 6, y2: height - 22, visibility: "hidden" });
      svg.append(pointer);
      panel.mark = (epoch) => {
        pointer.setAttribute("visibility", epoch === null ? "hidden" : "visible");
        if (epoch !== null) for (const key of ["x1", "x2"]) pointer.setAttribute(key, x(epoch));
      };
      panel.share = (epoch) => x(epoch) / width;
      panel.nearest = (clientX) => {
        const box = svg.getBoundingClientRect(), wanted = ((clientX - box.left) / box.width) * width;
        return panel.epochs.reduce((best, each) => (Math.abs(x(each) - wanted) < Math.abs(x(best) - wanted) ? each : best));
      };
    } else panel.mark = panel.nearest = null;
    panel.place.replaceChildren(svg);
  }
  function read(panel, epoch) {
    if (epoch === undefined || (epoch !== null && !panel.mark)) return;
    panel.at = epoch;
    for (const each of curves) each.mark?.(epoch);
    panel.said.hidden = epoch === null;
    if (epoch === null) return;
    const body = element("tbody");
    const rows = panel.lines.map((each) => [each, each.epochs.indexOf(epoch)]).filter(([, at]) => at >= 0);
    rows.sort(([a, i], [b, j]) => b.mean[j] - a.mean[i]);
    const digits = panel.series.measure.endsWith("accuracy") ? 1 : 3;
    for (const [each, at] of rows.slice(0, 12)) {
      const swatch = element("span", { class: "ink", style: `--ink-colour:${colour(each.arm)}` });
      const range = each.num_seeds > 1 ? `${each.low[at].toFixed(digits)} to ${each.high[at].toFixed(digits)}` : "";
      body.append(element("tr", {}, element("td", {}, swatch, each.arm), element("td", {}, each.mean[at].toFixed(digits)), element("td", {}, range)));
    }
    panel.said.replaceChildren(element("div", {}, `Epoch ${epoch}`), element("table", {}, body));
    const share = panel.share(epoch);
    panel.said.style.top = "2.2rem";
    panel.said.style.left = share < 0.5 ? `${share * 100 + 3}%` : "auto";
    panel.said.style.right = share < 0.5 ? "auto" : `${(1 - share) * 100 + 3}%`;
  }
  function addLegend(place) {
    const buttons = [];
    function show() {
      for (const [arm, button] of buttons) button.setAttribute("aria-pressed", `${!hidden.has(arm)}`);
      curves.forEach(drawCurve);
      drawCosts();
    }
    for (const arm of data.arms) {
      const sample = canvas(22, 8);
      sample.append(shape("line", { x1: 0, x2: 22, y1: 4, y2: 4, style: `stroke:${colour(arm)}`, "stroke-width": 2.6, "stroke-dasharray": dash(arm) }));
      const button = element("button", { type: "button", "aria-pressed": `${!hidden.has(arm)}` }, sample, arm);
      button.addEventListener("click", () => {
        if (!hidden.delete(arm)) hidden.add(arm);
        show();
      });
      buttons.push([arm, button]);
      place.append(button);
    }
    if (!hidden.size) return;
    const all = element("button", { type: "button", class: "all" }, "Show all");
    all.addEventListener("click", () => { hidden.clear(); show(); });
    place.append(all);
  }

  // Cost: accuracy against three prices.
  const costs = [];
  function drawCosts() {
    for (const { place, key } of costs) drawCost(place, key);
  }
  function drawCost(place, key) {
    const points = data.answer.map((row, index) => ({ ...row, cost: data.cost[index][key] }))
      .filter((row) => !hidden.has(row.arm) && row.score_percent !== null && row.cost);
    const width = Math.max(place.clientWidth, 230), height = Math.round(Math.min(260, width * 0.72));
    const svg = canvas(width, height);
    if (points.length) {
      const spread = (row) => row.sd_percent || 0;
      let low = Math.min(...points.map((row) => row.score_percent - spread(row))), high = Math.max(...points.map((row) => row.score_percent + spread(row)));
      const pad = (high - low) * 0.08 || 0.5;
      const least = Math.min(...points.map((row) => row.cost)), most = Math.max(...points.map((row) => row.cost));
      const log = most > 8 * least, room = log ? 1.25 : (most - least) * 0.1 || most * 0.1;
      const x = log ? scale(least / room, most * room, 40, width - 8, true) : scale(least - room, most + room, 40, width - 8);
      const y = scale(low - pad, high + pad, height - 22, 6);
      for (const tick of y.ticks(5)) {
        svg.append(shape("line", { class: "grid", x1: 40, x2: width - 8, y1: y(tick), y2: y(tick) }));
        svg.append(shape("text", { x: 33, y: y(tick) + 4, "text-anchor": "end" }, brief(tick)));
      }
      for (const tick of x.ticks(4)) svg.append(shape("text", { x: x(tick), y: height - 5, "text-anchor": "middle" }, brief(tick)));
      for (const row of points) {
        const group = shape("g", { style: `stroke:${colour(row.arm)};fill:${colour(row.arm)}` });
        group.append(shape("title", {}, `${row.arm}: ${row.score_percent.toFixed(1)} % at ${brief(row.cost)}`));
        group.append(shape("line", { x1: x(row.cost), x2: x(row.cost), y1: y(row.score_percent - spread(row)), y2: y(row.score_percent + spread(row)), "stroke-width": 1.4 }));
        group.append(shape("circle", { cx: x(row.cost), cy: y(row.score_percent), r: 4.6, stroke: "none" }));
        svg.append(group);
      }
    }
    place.replaceChildren(svg);
  }
  function addCost([key, title]) {
    const place = element("div");
    costs.push({ place, key });
    return element("figure", { class: "panel" }, element("figcaption", {}, `${data.score} against ${title}`), place);
  }

  // Confusions: one matrix, an arm at a time.
  function addMatrix(place) {
    const { classes, arms } = data.confusions;
    const holder = element("div", { class: "matrix scroll" });
    const choice = element("div", { class: "choice", role: "group", "aria-label": "Arm whose confusions are shown" });
    function draw(arm) {
      const head = element("tr", {}, element("td"), ...classes.map((each) => element("th", { scope: "col", title: each }, each)));
      const rows = arms[arm].map((counts, index) => {
        const total = counts.reduce((sum, each) => sum + each, 0) || 1;
        const cells = counts.map((count, taken) => {
          const share = count / total, right = taken === index;
          const tint = right ? share * 0.45 : Math.min(1, Math.sqrt(share) * 1.3);
          const title = `${classes[index]} taken for ${classes[taken]}: ${count} images per run`;
          return element("td", { title, style: `--hue:var(--${right ? "up" : "down"});--tint:${tint.toFixed(3)}` }, count ? `${+count.toFixed(1)}` : "");
        });
        return element("tr", {}, element("th", { scope: "row", title: classes[index] }, classes[index]), ...cells);
      });
      holder.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
      for (const button of choice.children) button.setAttribute("aria-pressed", `${button.textContent === arm}`);
    }
    for (const arm of Object.keys(arms)) {
      const button = element("button", { type: "button" }, arm);
      button.addEventListener("click", () => draw(arm));
      choice.append(button);
    }
    place.append(choice, holder, element("p", { class: "note" }, "Rows are the classes of the images, columns what they were taken for; images per run, averaged over seeds."));
    if (Object.keys(arms).length) draw(Object.keys(arms)[0]);
  }

  // Tables: a click on a heading sorts by the values, not by the texts.
  function sort(table, column, head) {
    const falling = head.getAttribute("aria-sort") === "ascending" || (!head.hasAttribute("aria-sort") && head.classList.contains("number"));
    const direction = head.getAttribute("aria-sort") === "descending" ? 1 : falling ? -1 : 1;
    const key = (row) => row.cells[column].dataset.sort ?? "";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [left, right] = [key(a), key(b)];
      if (left === "" || right === "") return (left === "") - (right === "");
      const difference = Number(left) - Number(right);
      return direction * (Number.isNaN(difference) ? left.localeCompare(right, "en", { numeric: true }) : difference);
    });
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  }
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(table, column, head)));

  const differences = document.getElementById("differences"), panels = document.getElementById("curves");
  const cost = document.getElementById("cost"), confusions = document.getElementById("confusions");
  if (panels) { addLegend(document.querySelector(".legend")); panels.append(...data.series.map(addCurve)); }
  if (cost) cost.append(...[["parameters", "parameters"], ["flops_per_image", "FLOPs per image"], ["train_seconds", "training seconds"]].map(addCost));
  if (confusions && data.confusions) addMatrix(confusions);
  function drawAll() {
    if (differences) drawDifferences(differences);
    curves.forEach(drawCurve);
    drawCosts();
  }
  drawAll();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
})();
