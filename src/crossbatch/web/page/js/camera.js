// The camera of a computer; phones open their own.
import { alert } from "./alert.js";
import { byId } from "./element.js";

// Whether there is one; that needs no leave.
export async function canPhotograph() {
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  return devices.some(({ kind }) => kind === "videoinput");
}

export async function photograph(took) {
  const dialog = byId("camera");
  const video = byId("viewfinder");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch {
    alert("No camera can be used: there is none, or this page may not use it. Choose a picture instead.");
    return;
  }
  video.srcObject = stream;
  dialog.onclose = () => { stream.getTracks().forEach((track) => track.stop()); video.srcObject = null; };
  byId("camera-close").onclick = () => dialog.close();
  byId("shutter").onclick = async () => {
    const file = await still(video);
    dialog.close();
    took(file);
  };
  dialog.showModal();
  await video.play();
}

function still(video) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => { canvas.toBlob((blob) => done(new File([blob], "photograph.jpg", { type: blob.type })), "image/jpeg", 0.92); });
}
