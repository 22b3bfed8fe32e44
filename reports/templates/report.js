"use strict";
document.documentElement.classList.add("scripted");
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Names come from specs: they are only ever set as text, never parsed as markup.
  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  // Panels by epoch: one epoch is read in all of them, its values are told in the one that was pointed at.
  const panels = [];
  function addReading(figure) {
    const epochs = data[figure.dataset.key], svg = figure.querySelector("svg");
    const said = element("div", { class: "reading", "aria-live": "polite", hidden: "" });
    const pointer = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [key, value] of Object.entries({ class: "pointer", y1: 8, y2: svg.getAttribute("height") - 20, visibility: "hidden" })) pointer.setAttribute(key, value);
    svg.append(pointer);
    figure.append(said);
    figure.tabIndex = 0;
    const panel = { said, pointer, epochs, at: -1 };
    panels.push(panel);
    const nearest = (event) => {
      const box = svg.getBoundingClientRect(), wanted = ((event.clientX - box.left) / box.width) * 100;
      return epochs.reduce((best, each, index) => (Math.abs(each[0] - wanted) < Math.abs(epochs[best][0] - wanted) ? index : best), 0);
    };
    figure.addEventListener("pointermove", (event) => read(panel, nearest(event)));
    for (const name of ["pointerleave", "blur"]) figure.addEventListener(name, () => read(panel, -1));
    figure.addEventListener("keydown", (event) => {
      const last = epochs.length - 1;
      const target = { ArrowLeft: Math.max(0, panel.at - 1), ArrowRight: Math.min(last, panel.at + 1), Home: 0, End: last, Escape: -1 }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      read(panel, target);
    });
  }
  function read(panel, at) {
    panel.at = at;
    panel.said.hidden = at < 0;
    for (const each of panels) {
      each.pointer.setAttribute("visibility", at < 0 ? "hidden" : "visible");
      const same = at < 0 ? null : each.epochs.find((row) => row[1] === panel.epochs[at][1]);
      if (same) for (const end of ["x1", "x2"]) each.pointer.setAttribute(end, `${same[0]}%`);
    }
    if (at < 0) return;
    const [place, epoch, told] = panel.epochs[at];
    const rows = told.slice(0, 12).map(([arm, text]) => element("tr", {}, element("td", {}, arm), element("td", {}, text)));
    panel.said.replaceChildren(element("div", {}, `Epoch ${epoch}`), element("table", { role: "presentation" }, element("tbody", {}, ...rows)));
    panel.said.style.left = place < 40 ? `${place + 3}%` : "auto";
    panel.said.style.right = place < 40 ? "auto" : `${103 - place}%`;
  }
  document.querySelectorAll("figure[data-key]").forEach(addReading);

  // Tables: a click on a heading sorts by the values, not by the texts.
  function sort(table, column, head) {
    const falling = head.getAttribute("aria-sort") === "ascending" || (!head.hasAttribute("aria-sort") && head.classList.contains("n"));
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
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.classList.contains("f") || table.rows.length < 3) return;
      const button = element("button", { type: "button", class: "sort" }, ...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head));
      head.append(button);
    });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
})();
