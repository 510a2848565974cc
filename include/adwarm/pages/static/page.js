// Loads each tile by itself, again every few seconds where it says so, and follows the theme of Airflow around it.
"use strict";

(() => {
  const isFramed = window.parent !== window;
  const FIELDS = "input:not([type=hidden]), select, textarea";
  const FOCUSABLE = `a[href], button, summary, [tabindex], ${FIELDS}`;
  const TIMEOUT = 30_000; // milliseconds
  const LONG = 40; // characters of a cell that takes the whole width of its card
  const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  const STEPS_OF_A_WEEK = { ...STEPS, ArrowUp: -24, ArrowDown: 24 };

  // Before the first paint, so that a dark page does not flash white.
  const followTheme = () => {
    let theme = null;
    try {
      theme = window.localStorage.getItem("theme");
    } catch {
      // Storage is not allowed here: the theme of the system applies.
    }
    const root = document.documentElement;
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  if (isFramed) {
    document.documentElement.dataset.framed = "";
    followTheme();
    window.addEventListener("storage", (event) => event.key === "theme" && followTheme());
  }

  const say = (text) => {
    document.getElementById("status").textContent = text;
  };

  // A table that is wider than its tile shows each row as a card.
  const fitTables = (body) => {
    for (const table of body.querySelectorAll("table")) {
      table.classList.remove("cards");
      table.classList.toggle("cards", table.offsetWidth > table.parentElement.clientWidth);
    }
  };
  const widths = new WeakMap();
  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (widths.get(target) !== contentRect.width) requestAnimationFrame(() => fitTables(target));
      widths.set(target, contentRect.width);
    }
  });

  // A card names the column of each value.
  const nameCells = (table) => {
    const names = [...(table.tHead?.rows[0].cells ?? [])].map((cell) => cell.textContent);
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, place) => {
        if (names[place] && cell.tagName === "TD") cell.dataset.name = names[place];
        cell.classList.toggle("long", cell.textContent.length > LONG);
      });
    }
  };

  // A chart says the values of the hour or day that the pointer is at, or that arrow keys lead to.
  const readCharts = (body) => {
    for (const chart of body.querySelectorAll(".chart:has(title)")) {
      const parts = [...chart.querySelectorAll("title")].map((title) => {
        const part = title.parentElement;
        part.dataset.text = title.textContent;
        title.remove(); // the browser would show it a second time
        return part;
      });
      const output = document.createElement("output");
      const steps = chart.matches(".heat") ? STEPS_OF_A_WEEK : STEPS;
      let shown = -1;
      const read = (place) => {
        parts[shown]?.classList.remove("on");
        parts[place]?.classList.add("on");
        output.textContent = parts[place]?.dataset.text ?? "";
        shown = place;
      };
      const follow = (event) => parts.includes(event.target) && read(parts.indexOf(event.target));
      output.className = "reading";
      chart.tabIndex = 0;
      chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}. Arrow keys read the values.`);
      chart.after(output);
      chart.addEventListener("pointerdown", follow);
      chart.addEventListener("pointermove", follow);
      chart.addEventListener("pointerleave", () => read(-1));
      chart.addEventListener("blur", () => read(-1));
      chart.addEventListener("keydown", (event) => {
        const step = steps[event.key];
        if (step === undefined) return;
        event.preventDefault();
        const last = parts.length - 1;
        const from = shown < 0 && step < 0 ? last + 1 : shown;
        read(Math.min(last, Math.max(0, from + step)));
      });
    }
  };

  const prepare = (body) => {
    body.querySelectorAll("table").forEach(nameCells);
    readCharts(body);
    fitTables(body);
    observer.observe(body);
  };

  const isInUse = (body) => {
    const isTouched = (field) => field === document.activeElement || field.dataset.touched;
    const selection = window.getSelection();
    const isSelecting = !selection.isCollapsed && body.contains(selection.anchorNode);
    return isSelecting || [...body.querySelectorAll(FIELDS)].some(isTouched);
  };

  // Replaces what a tile shows; open details and the focus stay.
  const show = (body, html) => {
    const list = (selector) => [...body.querySelectorAll(selector)];
    const open = list("details").map((item) => item.open);
    const focused = list(FOCUSABLE).indexOf(document.activeElement);
    body.innerHTML = html; // escaped by the server's templates; the page's policy forbids inline scripts
    list("details").forEach((item, place) => (item.open = open[place] ?? item.open));
    prepare(body);
    if (focused >= 0) list(FOCUSABLE)[focused]?.focus({ preventScroll: true });
  };

  const fail = (body, text) => {
    const title = body.parentElement.querySelector("h2").textContent;
    const message = document.createElement("div");
    message.className = "notice failed";
    message.textContent = `${text} `;
    const again = document.createElement("button");
    again.type = "button";
    again.className = "quiet";
    again.textContent = "Try again";
    again.setAttribute("aria-label", `Try again: ${title}`);
    again.addEventListener("click", () => load(body));
    message.append(again);
    body.querySelector(".notice.failed")?.remove();
    // What was shown before stays below the message.
    if (body.dataset.loaded) body.prepend(message);
    else body.replaceChildren(message);
    say(`${title}: ${text}`);
  };

  const load = async (body) => {
    if (body.dataset.loading || (body.dataset.loaded && isInUse(body))) return;
    body.dataset.loading = "1";
    body.setAttribute("aria-busy", "true");
    try {
      const signal = AbortSignal.timeout(TIMEOUT);
      const answer = await fetch(body.dataset.src, { headers: { Accept: "text/html" }, signal });
      const html = await answer.text();
      if (answer.status === 401) fail(body, "Your login has ended. Reload the page to log in again.");
      else if (!answer.ok) fail(body, `This part cannot be shown: the server answered ${answer.status}.`);
      else if (html !== body.shown || body.querySelector(".notice.failed")) {
        show(body, html);
        body.shown = html;
        body.dataset.loaded = "1";
      }
    } catch (error) {
      const isLate = error instanceof DOMException && error.name === "TimeoutError";
      fail(body, isLate ? "The server takes too long to answer." : "The server cannot be reached.");
    }
    body.removeAttribute("aria-busy");
    delete body.dataset.loading;
  };

  // A link to a folded tile opens it.
  const unfold = () => {
    const target = document.getElementById(window.location.hash.slice(1));
    if (target?.matches("details")) target.open = true;
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.addEventListener("input", (event) => (event.target.dataset.touched = "1"));
    unfold();
    window.addEventListener("hashchange", unfold);
    const bodies = [...document.querySelectorAll("[data-src]")];
    document.querySelectorAll(".body:not([data-src])").forEach(prepare);
    const isShown = (body) => !body.closest("details:not([open])");
    const shown = bodies.filter(isShown);
    Promise.all(shown.map(load)).then(() => shown.every((body) => body.dataset.loaded) && say("All parts are loaded."));
    const loadOpened = ({ target }) => bodies.filter((body) => target.open && body.parentElement === target).forEach(load);
    document.addEventListener("toggle", loadOpened, true);
    for (const body of bodies) {
      const seconds = Number(body.dataset.refresh);
      if (seconds > 0) setInterval(() => document.visibilityState === "visible" && isShown(body) && load(body), seconds * 1000);
    }
    const closeHelp = (event) => {
      for (const help of document.querySelectorAll(".help[open]")) {
        if (event.key === "Escape" || (event.type === "click" && !help.contains(event.target))) help.open = false;
      }
    };
    document.addEventListener("click", closeHelp);
    document.addEventListener("keydown", closeHelp);
    const lock = (form, isLocked) => {
      for (const button of form.querySelectorAll("button")) {
        button.disabled = isLocked;
        button.classList.toggle("busy", isLocked);
      }
    };
    document.addEventListener("submit", ({ target }) => {
      // A second click must not send a form twice.
      setTimeout(() => lock(target, true));
      say("Working ...");
    });
    window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => lock(form, false)));
  });
})();
