// Second Look review page: times in the reader's zone, countdowns, the live log and local hashing.
// Everything here is comfort; every page reads and every form works without it.
"use strict";

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const shortTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
// Of a moment on an axis: what the range of time leaves open; of one that is kept as evidence: all, with its zone.
const forms = {
  time: new Intl.DateTimeFormat(undefined, { timeStyle: "short" }),
  day: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }),
  whole: new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" }),
};
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const narrow = matchMedia("(max-width: 30rem)");

function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(element.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const today = instant.toDateString() === new Date().toDateString();
    const short = narrow.matches && element.closest("table.log");
    const form = forms[element.dataset.form] ?? (today ? timeOnly : short ? shortTime : dateTime);
    element.textContent = form.format(instant);
    element.title = instant.toISOString();
  }
}

function words(seconds) {
  if (seconds <= 0) return "over";
  if (seconds < 60) return `${Math.ceil(seconds)} s left`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min left`;
  if (seconds < 172800) return `${Math.ceil(seconds / 3600)} h left`;
  return `${Math.ceil(seconds / 86400)} days left`;
}

function countDown() {
  for (const element of document.querySelectorAll("[data-until]")) {
    element.textContent = words((new Date(element.dataset.until) - Date.now()) / 1000);
  }
}

// The live log: the server sends finished table rows, escaped by the same template as the page.
function liveLog() {
  const most = 500;
  const status = document.querySelector("[data-live-status]");
  const button = document.querySelector("[data-live-toggle]");
  const rows = () => document.querySelector("tbody[data-live]");
  let source = null;
  let waiting = [];
  let painting = false;

  function paint() {
    painting = false;
    const body = rows();
    const template = document.createElement("template");
    template.innerHTML = waiting.slice(-most).reverse().join("");
    waiting = [];
    if (!body) return;
    for (const link of template.content.querySelectorAll("td.subject > a[href^='/log/']")) {
      if (body.querySelector(`a[href="${link.getAttribute("href")}"]`)) link.closest("tr").remove();
    }
    showTimes(template.content);
    for (const row of template.content.children) row.classList.add("fresh");
    body.prepend(template.content);
    body.closest("section").querySelector(".empty")?.remove();
    while (body.children.length > most) body.lastElementChild.remove();
  }
  function start() {
    const body = rows();
    if (!body) return;
    const joint = body.dataset.live.endsWith("?") ? "" : "&";
    source = new EventSource(`${body.dataset.live}${joint}after=${body.dataset.after}`);
    source.onmessage = (event) => {
      body.dataset.after = event.lastEventId;
      waiting.push(...JSON.parse(event.data));
      if (!painting) { painting = true; setTimeout(paint, 100); }
    };
    source.onopen = () => { status.textContent = "Live"; };
    source.onerror = () => { status.textContent = "Connection lost, trying again …"; };
    show();
  }
  function stop() {
    source?.close();
    source = null;
    waiting = [];
    status.textContent = "";
    show();
  }
  function show() {
    button.hidden = !rows();
    button.textContent = source ? "Stop following" : "Follow live";
    button.setAttribute("aria-pressed", source ? "true" : "false");
  }
  button.addEventListener("click", () => {
    if (!source) return start();
    paint(); // what has come is not asked for again
    stop();
  });
  show();
  // The rows were fetched anew: what is followed is followed on.
  return () => { const followed = source; stop(); if (followed) start(); };
}

// A page of ours as a document; null when it did not come whole, was given up or is another than was asked for.
async function fetched(address, signal) {
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null;
  }
}

// Searching while typing: the results are fetched and put in the place of those shown.
function searchWhileTyping(form, renewed) {
  const pause = 300;
  let timer = null;
  let asking = null;
  async function search() {
    asking?.abort();
    asking = new AbortController();
    const given = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const address = `${form.action}?${given}`;
    const answer = await fetched(address, asking.signal);
    const fresh = answer?.getElementById(form.dataset.typing);
    if (!fresh) return; // half a date, say: it is explained when it is sent
    showTimes(fresh);
    document.getElementById(form.dataset.typing).replaceWith(fresh);
    history.replaceState(null, "", address);
    renewed();
  }
  form.addEventListener("input", (event) => {
    if (event.target.matches("select")) return; // sent as a whole
    clearTimeout(timer);
    timer = setTimeout(search, pause);
  });
}

// What the buttons for ticked rows do is offered once there are some.
function showTicked() {
  const part = document.querySelector("[data-chosen-part]");
  if (!part) return;
  const ticks = [...document.querySelectorAll("td.tick input")];
  const ticked = ticks.filter((tick) => tick.checked).length;
  const all = document.querySelector("[data-tick-all]");
  part.hidden = !ticked;
  part.querySelector("[data-chosen-count]").textContent = `${ticked} ticked:`;
  all.hidden = !ticks.length;
  all.checked = ticked > 0 && ticked === ticks.length;
  all.indeterminate = ticked > 0 && ticked < ticks.length;
}
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-tick-all]")) {
    for (const tick of document.querySelectorAll("td.tick input")) tick.checked = event.target.checked;
  }
  if (event.target.matches("[data-tick-all], td.tick input")) showTicked();
});

// Keys of the log; while something is typed they are letters.
function keys(dialog) {
  const button = document.querySelector("[data-keys]");
  const current = () => document.querySelector("table.log tr.at");
  function go(step) {
    const rows = [...document.querySelectorAll("table.log tbody tr")];
    if (!rows.length) return;
    const at = rows.indexOf(current());
    const next = rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)];
    current()?.classList.remove("at");
    next.classList.add("at");
    next.querySelector("td.subject a").focus();
    next.scrollIntoView({ block: "nearest" });
  }
  const act = {
    "/": () => document.querySelector("input[name=search]").focus(),
    j: () => go(1),
    k: () => go(-1),
    x: () => current()?.querySelector("td.tick input")?.click(),
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    // A dialog that was just closed keeps the focus until the page is drawn anew: what counts is whether it is open.
    const typing = dialog.open || event.target.closest?.("input:not([type=checkbox]), textarea, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(act, event.key)) return;
    event.preventDefault();
    act[event.key]();
  });
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
}

// A dropped file is hashed here and only its digest is sent.
const mostBytes = 1024 * 1024 * 1024;
function hashFiles(zone) {
  const input = zone.querySelector("input[type=file]");
  const field = document.querySelector("input[name=subject]");
  const progress = zone.querySelector("[data-progress]");
  async function take(file) {
    if (!file) return;
    if (file.size > mostBytes) { progress.textContent = `${file.name} is larger than 1 GiB: use the command “secondlook check” for it.`; return; }
    progress.textContent = `Hashing ${file.name} on this computer …`;
    try {
      const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
      field.value = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
      field.form.requestSubmit();
    } catch (error) {
      progress.textContent = `The file could not be read: ${error.message}`;
    }
  }
  zone.hidden = false;
  input.addEventListener("change", () => take(input.files[0]));
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); take(event.dataTransfer.files[0]); });
}

function copyText(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

// The figures of a bar, beside the chart while it is pointed at or has the focus.
function showValues(event) {
  const bar = event.target.closest?.(".chart a");
  const line = bar?.closest("section").querySelector("[data-values]");
  if (line) line.textContent = `${dateTime.format(new Date(bar.dataset.time))}: ${bar.dataset.value}`;
}
document.addEventListener("mouseover", showValues);
document.addEventListener("focusin", showValues);

// What changes by itself is fetched again, unless somebody is busy with it.
const refreshEvery = document.querySelector("[data-refresh-often]") ? 3000 : 30000;
async function refresh() {
  const parts = [...document.querySelectorAll("[data-refresh]")];
  if (document.hidden || !parts.length) return;
  const fresh = await fetched(location.href);
  if (!fresh) return;
  for (const part of parts) {
    const next = fresh.querySelector(`[data-refresh="${part.dataset.refresh}"]`);
    const busy = part.matches(":hover") || part.contains(document.activeElement) || part.querySelector("details[open]");
    if (!next || busy) continue;
    showTimes(next);
    part.replaceWith(next);
  }
}
setInterval(refresh, refreshEvery);

showTimes(document);
countDown();
setInterval(countDown, 1000);
document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
if (document.querySelector("[data-live-toggle]")) {
  const followOn = liveLog();
  document.querySelectorAll("form[data-typing]").forEach((form) => searchWhileTyping(form, () => { followOn(); showTicked(); }));
}
showTicked();
document.querySelectorAll("dialog#keys").forEach(keys);
// A menu that was left closes.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.querySelectorAll("[data-hash-files]").forEach(hashFiles);
document.querySelectorAll("[data-copy]").forEach(copyText);
// What is not filled in would only make the address longer.
document.querySelectorAll("form[data-auto]").forEach((form) => form.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
}));
document.querySelectorAll("form[data-auto] select").forEach((select) => select.addEventListener("change", () => select.form.requestSubmit()));
