// Loads each tile by itself, again every few seconds where it says so, and follows the theme of Airflow around it.
"use strict";

(() => {
  const isFramed = window.parent !== window;
  const FIELDS = "input:not([type=hidden]), select, textarea";
  const FOCUSABLE = `a[href], button, summary, [tabindex], ${FIELDS}`;
  const TIMEOUT = 30_000; // milliseconds

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

  // A table that does not fit scrolls by keyboard, too.
  const frameTables = (body) => {
    const title = body.parentElement.querySelector("h2");
    for (const table of body.querySelectorAll("table, .chart.plot, .chart.heat")) {
      if (table.parentElement.matches(".scroll")) continue;
      const region = document.createElement("div");
      region.className = "scroll";
      table.replaceWith(region);
      region.append(table);
      if (region.scrollWidth <= region.clientWidth) continue;
      if (region.closest(".latest")) region.scrollLeft = region.scrollWidth; // the newest day is what matters
      region.tabIndex = 0;
      region.setAttribute("role", "region");
      region.setAttribute("aria-label", table.caption?.textContent || title.textContent);
    }
  };

  const isInUse = (body) => {
    const isTouched = (field) => field === document.activeElement || field.dataset.touched;
    const selection = window.getSelection();
    const isSelecting = !selection.isCollapsed && body.contains(selection.anchorNode);
    return isSelecting || [...body.querySelectorAll(FIELDS)].some(isTouched);
  };

  // Replaces what a tile shows; open details, the focus and the scrolling of tables stay.
  const show = (body, html) => {
    const list = (selector) => [...body.querySelectorAll(selector)];
    const open = list("details").map((item) => item.open);
    const scrolls = list(".scroll").map((item) => item.scrollLeft);
    const focused = list(FOCUSABLE).indexOf(document.activeElement);
    body.innerHTML = html; // escaped by the server's templates; the page's policy forbids inline scripts
    list("details").forEach((item, place) => (item.open = open[place] ?? item.open));
    frameTables(body);
    list(".scroll").forEach((item, place) => (item.scrollLeft = scrolls[place] ?? item.scrollLeft));
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

  document.addEventListener("DOMContentLoaded", () => {
    document.addEventListener("input", (event) => (event.target.dataset.touched = "1"));
    const bodies = [...document.querySelectorAll("[data-src]")];
    document.querySelectorAll(".body:not([data-src])").forEach(frameTables);
    Promise.all(bodies.map(load)).then(() => bodies.every((body) => body.dataset.loaded) && say("All parts are loaded."));
    for (const body of bodies) {
      const seconds = Number(body.dataset.refresh);
      if (seconds > 0) setInterval(() => document.visibilityState === "visible" && load(body), seconds * 1000);
    }
    const resend = (form) => form.querySelectorAll("button").forEach((button) => (button.disabled = false));
    document.addEventListener("submit", (event) => {
      // A second click must not send a form twice.
      event.target.querySelectorAll("button").forEach((button) => setTimeout(() => (button.disabled = true)));
    });
    window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach(resend));
  });
})();
