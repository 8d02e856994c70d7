"use strict";
const main = document.querySelector("main");
const said = document.getElementById("said");
const search = document.getElementById("search");
const live = document.getElementById("live");
const cards = () => [...main.querySelectorAll(".network")];

// Cards of different heights leave no holes: each spans as many thin rows as it is high.
function pack() {
  const list = main.querySelector(".networks");
  list.classList.add("packed");
  const heights = cards().map((card) => card.offsetHeight);
  cards().forEach((card, n) => { card.style.gridRowEnd = `span ${Math.ceil((heights[n] + 14) / 2)}`; });
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (part) => words.every((word) => part.dataset.text.toLowerCase().includes(word));
  const rows = [...main.querySelectorAll(".container")];
  for (const row of rows) row.classList.toggle("hidden", !fits(row));
  for (const card of cards())
    card.classList.toggle("hidden", !fits(card) && !card.querySelector(".container:not(.hidden)"));
  const shown = rows.filter((row) => !row.classList.contains("hidden")).length;
  said.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  pack();
}
search.addEventListener("input", filter);

document.addEventListener("click", async (event) => {
  const address = event.target.closest("[data-copy]")?.dataset.copy;
  if (!address) return;
  try {
    await navigator.clipboard.writeText(address);
    said.textContent = `copied ${address}`;
  } catch {
    // A page from a file may not use the clipboard: select the text in its place.
    getSelection().selectAllChildren(event.target);
    said.textContent = `${address} is selected`;
  }
});

// Each card as it came, before search and colours touched it.
const made = new WeakMap();
const remember = () => cards().forEach((card) => made.has(card) || made.set(card, card.outerHTML));

function show(text) {
  const next = document.createElement("main");
  next.innerHTML = text;
  const list = main.querySelector(".networks");
  const known = new Map([...list.querySelectorAll("[data-key]")].map((part) => [part.dataset.key, part]));
  const fresh = [...next.querySelectorAll("[data-key]")].filter((part) => !known.has(part.dataset.key));
  let place = list.firstElementChild;
  // A card that is as it was stays where it is, with what is selected in it.
  for (const card of next.querySelectorAll(".network")) {
    const old = known.get(card.dataset.key);
    const kept = old && made.get(old) === card.outerHTML ? old : card;
    if (old && old === place) place = old.nextElementSibling;
    if (old && old !== kept) old.remove();
    if (kept.parentNode !== list || kept.nextElementSibling !== place) list.insertBefore(kept, place);
  }
  while (place) {
    const following = place.nextElementSibling;
    place.remove();
    place = following;
  }
  next.querySelector(".networks").remove();
  while (main.firstChild !== list) main.firstChild.remove();
  list.before(...next.childNodes);
  remember();
  fresh.forEach((part) => part.classList.add("fresh"));
  if (search.value) filter();
  pack();
}

function follow() {
  const events = new EventSource(live.dataset.events);
  const tell = (away) => {
    document.body.classList.toggle("away", away);
    live.textContent = away ? "macnet map --serve has ended; waiting for it" : "live";
  };
  events.onmessage = (event) => { tell(false); show(event.data); };
  events.onerror = () => {
    tell(true);
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  };
}
remember();
pack();
addEventListener("resize", pack);
if (live) {
  follow();
}
