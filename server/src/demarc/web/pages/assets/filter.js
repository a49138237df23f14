// The filter box of the reference page. Without this script the box stays hidden and everything is shown.
const box = document.getElementById("filter");
const articles = [...document.querySelectorAll("article[data-words]")];
const links = new Map([...document.querySelectorAll("li[data-for]")].map((item) => [item.dataset.for, item]));

function filter() {
  const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const article of articles) {
    const words = article.dataset.words.toLowerCase();
    const hidden = !wanted.every((word) => words.includes(word));
    article.hidden = hidden;
    const link = links.get(article.id);
    if (link) link.hidden = hidden;
  }
  for (const section of document.querySelectorAll("section.group")) {
    section.hidden = wanted.length > 0 && !section.querySelector("article:not([hidden])");
  }
}

box.closest("p").hidden = false;
box.addEventListener("input", filter);
