// The page works without this: it only spares reloading, and takes pictures that are pasted or dropped.
"use strict";

const PARTS = ["given", "status", "sieves", "results"];
const LIVE_MS = 200;
let running = null;
let timer = 0;

const form = document.getElementById("search");

function asked() {
  const pairs = [...new FormData(form)].filter(([name, value]) => name && typeof value === "string" && value !== "");
  return new URLSearchParams(pairs).toString();
}

function say(text) {
  document.getElementById("status").textContent = text;
}

// What a reader had open stays open, and the focus where it was.
function replaceParts(page) {
  const focused = document.activeElement;
  const name = focused?.name, value = focused?.value;
  const open = document.getElementById("ranking")?.open;
  for (const id of PARTS) {
    const fresh = page.getElementById(id);
    if (fresh) document.getElementById(id).replaceWith(document.adoptNode(fresh));
  }
  const ranking = document.getElementById("ranking");
  if (ranking && open) ranking.open = true;
  if (name && !focused.isConnected) {
    const same = [...document.getElementsByName(name)];
    (same.find((each) => each.value === value) ?? same[0])?.focus();
  }
  document.title = page.title;
}

async function show(query, remember) {
  running?.abort();
  const mine = (running = new AbortController());
  document.body.classList.add("busy");
  try {
    const answer = await fetch("/?" + query, { signal: mine.signal, headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url);
    if (!answer.headers.get("content-type")?.startsWith("text/html")) throw new Error((await answer.json()).error.message);
    replaceParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (remember) history.pushState(null, "", query ? "/?" + query : "/");
  } catch (error) {
    if (error.name !== "AbortError") say("The search failed: " + error.message);
  } finally {
    if (running === mine) document.body.classList.remove("busy");
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => show(asked(), true), LIVE_MS);
}

async function give(file) {
  if (!file) return;
  say("The picture is being sent.");
  const answer = await fetch("/api/v1/pictures", { method: "POST", body: file });
  const found = await answer.json();
  if (!answer.ok) return say(found.error.message);
  const field = Object.assign(document.createElement("input"), { type: "hidden", name: "picture", value: found.id });
  field.setAttribute("form", "search");
  document.getElementById("given").append(field);
  show(asked(), true);
}

async function judge(button) {
  const judgement = { url: location.search.slice(1), document: button.dataset.document, way: button.dataset.thumb };
  const answer = await fetch("/api/v1/thumbs", { method: "POST", body: JSON.stringify(judgement) });
  if (!answer.ok) return say((await answer.json()).error.message);
  for (const each of button.parentElement.querySelectorAll("[data-thumb]")) each.setAttribute("aria-pressed", String(each === button));
  say("Thank you. It is written down.");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  show(asked(), true);
});

document.addEventListener("input", (event) => {
  const slider = event.target;
  if (!slider.dataset?.for) return;
  const [number] = document.getElementsByName(slider.dataset.for);
  number.value = slider.value;
  soon();
});

document.addEventListener("change", (event) => {
  if (event.target.id === "file") return void give(event.target.files[0]);
  if (event.target.form === form && event.target.name !== "q") soon();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-search]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(new URL(link.href).search.slice(1), true).then(() => document.getElementById("results").focus());
  }
  const thumb = event.target.closest("[data-thumb]");
  if (thumb) judge(thumb);
});

document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) {
    event.preventDefault();
    give(file);
  }
});

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  give(event.dataTransfer.files[0]);
});

// A picture that can't be had says so in its place.
document.addEventListener("error", (event) => {
  if (event.target.matches?.("article img")) {
    const blank = Object.assign(document.createElement("div"), { className: "blank", textContent: "the picture can't be shown" });
    event.target.replaceWith(blank);
  }
}, true);

window.addEventListener("popstate", () => {
  const query = location.search.slice(1);
  document.querySelector("input[name=q]").value = new URLSearchParams(query).get("q") ?? "";
  show(query, false);
});
