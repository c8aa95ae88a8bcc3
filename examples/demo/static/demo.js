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
