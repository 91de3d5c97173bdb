// The ways a picture comes in: picked, photographed, dropped, pasted.
import { alert } from "./alert.js";
import { canPhotograph, photograph } from "./camera.js";
import { byId } from "./element.js";

const NONE = "That holds no picture. Drop or paste an image file: JPEG, PNG, WebP or GIF.";

// `took(file)` is called with each picture.
export function intake(took) {
  for (const input of [byId("file"), byId("shot")]) {
    input.addEventListener("change", () => {
      if (input.files[0]) took(input.files[0]);
      input.value = ""; // the same file again is a change again
    });
  }
  byId("choose").addEventListener("click", () => byId("file").click());
  const phone = matchMedia("(pointer: coarse)").matches;
  byId("photograph").hidden = !phone;
  if (!phone) canPhotograph().then((can) => { byId("photograph").hidden = !can; });
  byId("photograph").addEventListener("click", () => (phone ? byId("shot").click() : photograph(took)));
  paste(took);
  drop(took);
}

function paste(took) {
  addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    const typing = event.target.closest?.("input[type=text], input[type=password]");
    if (file) took(file);
    else if (!typing) alert(NONE);
  });
}

function drop(took) {
  const cover = byId("drop");
  let inside = 0; // enter and leave also come from each element passed over
  const over = (step) => { inside = step ? Math.max(0, inside + step) : 0; cover.classList.toggle("over", inside > 0); };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFiles(event) && over(1));
  addEventListener("dragleave", (event) => hasFiles(event) && over(-1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(0);
    const file = pictureIn(event.dataTransfer);
    if (file) took(file);
    else alert(NONE);
  });
}

// The first image; else the first file, of which the server says what it is not.
function pictureIn(data) {
  const files = [...(data?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}
