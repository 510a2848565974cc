// Loads each tile by itself, again every few seconds where it says so, and follows the theme of Airflow around it.
"use strict";

(() => {
  const theme = (() => {
    try {
      return window.localStorage.getItem("theme");
    } catch {
      return null;
    }
  })();
  if (window.parent !== window && (theme === "dark" || theme === "light")) {
    document.documentElement.dataset.theme = theme;
  }

  const show = (body, html) => {
    body.innerHTML = html; // escaped by the server's templates; the page's policy forbids inline scripts
    body.removeAttribute("aria-busy");
  };

  const fail = (body, text) => {
    const message = document.createElement("p");
    message.className = "notice";
    message.setAttribute("role", "alert");
    message.textContent = text;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => load(body));
    body.replaceChildren(message, again);
    body.removeAttribute("aria-busy");
  };

  const load = async (body) => {
    if (body.contains(document.activeElement) && body.dataset.loaded) return; // somebody is typing in it
    try {
      const answer = await fetch(body.dataset.src, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.status === 401) return fail(body, "Your login has ended. Reload the page to log in again.");
      if (!answer.ok) return fail(body, `This part cannot be shown: the server answered ${answer.status}.`);
      show(body, await answer.text());
      body.dataset.loaded = "1";
    } catch {
      fail(body, "The server cannot be reached.");
    }
  };

  for (const body of document.querySelectorAll("[data-src]")) {
    load(body);
    const seconds = Number(body.dataset.refresh);
    if (seconds > 0) setInterval(() => document.visibilityState === "visible" && load(body), seconds * 1000);
  }
})();
