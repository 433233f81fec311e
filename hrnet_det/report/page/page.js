// The page's choice of a test set and a class, kept in the address: #class=cat&view=1.
"use strict";
const classes = [...document.querySelectorAll("#classes option")].map(option => option.value);
const chosen = document.getElementById("class"), views = document.getElementById("view");

function words() {
  return new URLSearchParams(location.hash.slice(1));
}

function choose(name, value) {
  const all = words();
  if (value) all.set(name, value); else all.delete(name);
  history.replaceState(null, "", `#${all}`);
  show();
}

function show() {
  const name = words().get("class") || "", number = classes.indexOf(name);
  const view = words().get("view") || "0";
  const known = document.querySelector(`[data-view="${CSS.escape(view)}"]`) ? view : "0";
  for (const part of document.querySelectorAll("[data-view]")) {
    part.hidden = part.dataset.view !== known;
  }
  for (const part of document.querySelectorAll("[data-class]")) {
    const own = part.dataset.class.split(" ").includes(String(number));
    part.classList.toggle("other", number >= 0 && !own);
  }
  for (const part of document.querySelectorAll(".none")) {
    const left = part.previousElementSibling.querySelector("[data-class]:not(.other)");
    part.hidden = number < 0 || left !== null;
  }
  document.body.classList.toggle("filtered", number >= 0);
  if (document.activeElement !== chosen) chosen.value = name;
  if (views) views.value = known;
  document.getElementById("unknown").textContent =
    name && number < 0 ? `There is no class ${name}: all are shown.` : "";
}

function sort(table, column) {
  const body = table.tBodies[0], falls = table.dataset.by !== `${column}`;
  const value = row => {
    const text = row.cells[column].textContent, number = parseFloat(text.replaceAll(",", ""));
    return column ? (isNaN(number) ? -1 : number) : text;
  };
  const rows = [...body.rows].map(row => [value(row), row]);
  rows.sort(([a], [b]) => (a < b ? 1 : a > b ? -1 : 0) * (falls === column > 0 ? 1 : -1));
  body.append(...rows.map(([, row]) => row));
  table.dataset.by = falls ? `${column}` : "";
}

for (const table of document.querySelectorAll(".sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.addEventListener("click", () => sort(table, column));
  });
}
if (chosen) {
  chosen.addEventListener("input", () => {
    if (!chosen.value || classes.includes(chosen.value)) choose("class", chosen.value);
  });
  document.getElementById("all").addEventListener("click", () => {
    chosen.value = "";
    choose("class", "");
  });
  if (views) views.addEventListener("change", () => choose("view", views.value));
  addEventListener("hashchange", show);
  document.querySelector(".choice").hidden = false;
  show();
}
