// Uploads the file that a form `#upload` chooses, as it is, with its progress. The form's other fields are the query;
// where it has `lines` as well, these are sent as any form is, with or without this script.
"use strict";

(() => {
  const form = document.querySelector("#upload");
  const file = form.querySelector("#file"), lines = form.querySelector("#lines");
  const box = form.querySelector("[data-progress]"), bar = box.querySelector("progress"), text = box.querySelector("[data-progress-text]");
  const send = form.querySelector("button[type=submit]");
  const LARGEST = 64 * 2 ** 20;
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  for (const part of [form, ...form.querySelectorAll("[data-with-script]")]) part.hidden = false;
  lines?.classList.remove("tall");

  function ended(request) {
    send.disabled = false;
    box.hidden = true;
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      return say("Charkha does not answer.", "Is it still up? `charkha status` says.");
    }
    if (request.status === 201) return location.assign(form.dataset.go + answer.id);
    const { message = `Status ${request.status}`, remedy = "" } = answer.error ?? {};
    say(message.endsWith(remedy) ? message.slice(0, message.length - remedy.length) : message, remedy);
    document.querySelector("#said").scrollIntoView({ block: "nearest" });
  }

  function upload(chosen) {
    if (chosen.size > LARGEST) return say(`The file has ${megabytes(chosen.size)}, more than 64 MiB.`, "Upload a sample, or several data sets.");
    const request = new XMLHttpRequest();
    const query = new URLSearchParams([...new FormData(form)].filter(([name]) => name !== "csrf" && name !== "lines"));
    request.open("POST", `${form.dataset.door}?${query}`);
    request.setRequestHeader("content-type", form.dataset.mediaType ?? "application/jsonl");
    request.setRequestHeader("x-csrf-token", document.querySelector("meta[name=csrf]").content);
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.total ? event.loaded / event.total : 0;
      text.textContent = event.loaded < event.total ? `${megabytes(event.loaded)} of ${megabytes(event.total)}` : form.dataset.busy ?? "Reading and freezing…";
    });
    request.addEventListener("loadend", () => ended(request));
    document.querySelector("#said").replaceChildren();
    send.disabled = true;
    box.hidden = false;
    request.send(chosen);
  }

  // Before htmx sees it: a chosen file goes by itself, and lines are sent as the form always sends them.
  form.addEventListener("submit", (event) => {
    if (!file.files.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    upload(file.files[0]);
  }, { capture: true });
  form.addEventListener("htmx:configRequest", (event) => {
    if (!lines?.value.trim()) {
      event.preventDefault();
      say("There is nothing to upload.", "Choose a file, or paste lines.");
    }
  });
})();
