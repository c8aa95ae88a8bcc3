// The pages work without this file. It only shows that a form is under way, and keeps it from being sent twice.
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button");
    button.textContent = form.dataset.busy;
    button.setAttribute("aria-disabled", "true");
    button.addEventListener("click", (event) => event.preventDefault());
  });
}
// A page that comes back from the browser's memory may still say that it is busy.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
// The live feed: new events are put on top. Without this file the list is as it was when the page was loaded.
const feed = document.querySelector("[data-feed]");
if (feed) {
  const stream = new EventSource(feed.dataset.feed);
  stream.addEventListener("open", () => { feed.dataset.live = "yes"; });
  stream.addEventListener("error", () => { feed.dataset.live = "no"; });
  stream.addEventListener("message", (message) => {
    const { name, text } = JSON.parse(message.data);
    const chip = document.createElement("span");
    chip.className = `chip event-${name}`;
    chip.textContent = name;
    const when = document.createElement("span");
    when.className = "muted";
    when.textContent = new Date().toLocaleTimeString();
    const item = document.createElement("li");
    item.append(chip, ` ${text} `, when);
    feed.prepend(item);
    while (feed.childElementCount > 50) feed.lastElementChild.remove();
  });
}
// The countdown of a ticket. At its end the page is loaded anew, to see who is still there.
const left = document.querySelector("[data-left]");
if (left) {
  const end = performance.now() + Number(left.dataset.left);
  const timer = setInterval(() => {
    const seconds = Math.ceil((end - performance.now()) / 1000);
    left.textContent = seconds < 60 ? `${Math.max(seconds, 0)} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    if (seconds >= 0) return;
    clearInterval(timer);
    location.reload();
  }, 250);
}
