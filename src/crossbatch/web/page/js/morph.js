// A picture that is clicked moves to where the query stands, in browsers that can and for people who like it.

const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export function morph(from, change) {
  const picture = from?.querySelector("img");
  const asked = document.getElementById("query-picture");
  if (!picture || STILL.matches || !document.startViewTransition) { change(); return; }
  asked.style.viewTransitionName = "none";
  picture.style.viewTransitionName = "asked";
  const moving = document.startViewTransition(() => {
    picture.style.viewTransitionName = "";
    asked.style.viewTransitionName = "";
    change();
  });
  moving.ready.catch(() => null); // skipped, as in a hidden tab: the change is made all the same
}
