/** The little box with a word's time and confidence: at the pointer's word, or at the one that has the focus. */

const tip = document.querySelector("#tip");
let of = null;

function show(word) {
  hide();
  if (!word) return;
  of = word;
  tip.textContent = word.dataset.tip;
  tip.hidden = false;
  word.setAttribute("aria-describedby", "tip");
  const box = word.getClientRects()[0] ?? word.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), document.documentElement.clientWidth - width - 8);
  const above = box.top - height - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above < 8 ? box.bottom + 6 : above}px`;
}

export function hide() {
  of?.removeAttribute("aria-describedby");
  of = null;
  tip.hidden = true;
}

/** Its word may have been taken from the page. */
export function hideIfGone() {
  if (of && !of.isConnected) hide();
}

const word = (event) => (event.target instanceof Element ? event.target.closest(".word") : null);
document.addEventListener("pointerover", (event) => (word(event) ? show(word(event)) : hide()));
document.addEventListener("focusin", (event) => (word(event) ? show(word(event)) : hide()));
document.addEventListener("pointerdown", (event) => word(event) && show(word(event)));
document.addEventListener("scroll", hide, { passive: true, capture: true });
