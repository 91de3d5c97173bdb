// The token: asked for where the server wants one, or taken from the address (/#token=…), from which it is removed.
import { onLocked, session } from "./api.js";
import { byId } from "./element.js";

let asking = null; // one dialog, however many requests wait for it

export async function admit() {
  onLocked(() => { asking ??= ask().finally(() => { asking = null; }); return asking; });
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  await session(given).catch(() => null); // a wrong one: the first request asks
}

function ask() {
  const dialog = byId("token");
  const wrong = byId("token-wrong");
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((opened) => {
    byId("token-form").onsubmit = async (event) => {
      event.preventDefault();
      try {
        await session(byId("token-words").value);
        byId("token-words").value = "";
        dialog.close();
        opened();
      } catch (error) {
        wrong.textContent = error.message;
        wrong.hidden = false;
      }
    };
  });
}
