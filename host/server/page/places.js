// Places that an answer names: rectangles, points and outlines, drawn over the picture that they are in.

const SVG = "http://www.w3.org/2000/svg";

/** A figure of each picture that an answer names places in. `parts` and `sizes` are the server's, `pictures` those that were sent, in their order. */
export function drawn(parts, sizes, pictures) {
  const figures = [];
  pictures.forEach((picture, number) => {
    const here = parts.filter((part) => part.medium === number && points_of(part).length);
    const size = sizes[number]?.given;
    if (here.length && size) figures.push(figure(picture, here, size));
  });
  return figures;
}

/** The corners of a place; none of what is no place. */
function points_of(part) {
  if (part.kind === "rectangle") return [part["upper-left"], part["lower-right"]];
  if (part.kind === "point") return [part.at];
  return part.kind === "outline" ? part.points : [];
}

function figure(picture, parts, [width, height]) {
  const made = document.createElement("figure");
  made.className = "places";
  const stage = document.createElement("div");
  const image = document.createElement("img");
  [image.src, image.alt] = [picture.url, picture.name];
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  stage.append(image, drawing);
  const list = document.createElement("ol");
  parts.forEach((part, index) => {
    const name = document.createElement("li");
    name.textContent = `${part.label || part.kind}: ${where(part)}`;
    name.tabIndex = 0;
    // What is pointed at, or stands under the keyboard, is told from the others.
    const shapes = shapes_of(part, index, width, height);
    const mark = (is) => shapes.forEach((shape) => shape.classList.toggle("meant", is));
    for (const [event, is] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) name.addEventListener(event, () => mark(is));
    drawing.append(...shapes);
    list.append(name);
  });
  made.append(stage, list);
  return made;
}

function where(part) {
  return points_of(part).map(({ x, y }) => `${Math.round(x)}, ${Math.round(y)}`).join(" to ");
}

/** A place, and its number beside it. */
function shapes_of(part, index, width, height) {
  const points = points_of(part);
  const [left, top] = [Math.min(...points.map((point) => point.x)), Math.min(...points.map((point) => point.y))];
  const [right, bottom] = [Math.max(...points.map((point) => point.x)), Math.max(...points.map((point) => point.y))];
  const side = Math.max(width, height);
  let shape;
  if (part.kind === "rectangle") shape = element("rect", { x: left, y: top, width: right - left, height: bottom - top });
  else if (part.kind === "point") shape = element("circle", { cx: left, cy: top, r: side / 80 });
  else shape = element("polygon", { points: points.map(({ x, y }) => `${x},${y}`).join(" ") });
  // Inside the picture, whatever is marked.
  const size = side / 22;
  const number = element("text", { x: Math.min(Math.max(left, 0), width - size), y: Math.min(Math.max(top - size / 5, size), height), "font-size": size });
  number.textContent = String(index + 1);
  return [shape, number];
}

function element(kind, attributes) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
