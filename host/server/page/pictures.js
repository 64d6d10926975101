// Pictures to send: from files, the clipboard, a drop, the camera.

/** The most bytes of one picture: a server takes no larger request. */
const MOST = 24 * 1024 * 1024;

/** Files as {name, url}, with what could not be taken. */
export async function read(files) {
  const taken = [], refused = [];
  for (const file of files) {
    if (!file.type.startsWith("image/")) refused.push(`${file.name} is no picture`);
    else if (file.size > MOST) refused.push(`${file.name} is larger than 24 MB`);
    else taken.push({ name: file.name || "pasted picture", url: await address(file) });
  }
  return { taken, refused };
}

function address(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** Pictures among what was pasted or dropped. */
export function files_of(transfer) {
  return [...(transfer?.files ?? [])];
}

/** Shows the camera in a dialog; gives the picture taken, or nothing. */
export async function camera(dialog, video, take, leave) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("browsers give pages the camera on localhost and over https only; this page came over plain http from elsewhere");
  }
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  dialog.showModal();
  try {
    return await new Promise((resolve) => {
      take.onclick = () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        canvas.getContext("2d").drawImage(video, 0, 0);
        resolve({ name: "camera", url: canvas.toDataURL("image/jpeg", 0.95) });
      };
      leave.onclick = dialog.oncancel = dialog.onclose = () => resolve(undefined);
    });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    dialog.close();
  }
}
