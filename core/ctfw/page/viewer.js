"use strict";
// Case browser. Report texts come from models and files of others: they only ever become text
// nodes, never markup.

const SIGNS = {
  agree: ["✓", "agrees"],
  missed: ["○", "missed"],
  conflict: ["≠", "conflicts"],
  hallucinated: ["+", "not in the reference"],
};
const SVG = "http://www.w3.org/2000/svg";
const THUMB = 8; // half the width of a slider's thumb, px
const WHEEL_REST = 250; // ms without wheel before the page may scroll on from the last slice

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function sign(verdict, parent) {
  const [symbol, words] = SIGNS[verdict];
  const shown = make("span", { className: "sign", textContent: symbol });
  shown.setAttribute("aria-hidden", "true");
  parent.append(shown, make("span", { className: "hidden", textContent: `(${words}) ` }));
}

function words(text) {
  return make("span", { className: "words", textContent: text });
}

// The two images of one case, scrolled and enlarged together.
class Viewer {
  constructor(root) {
    this.root = root;
    this.part = {};
    for (const element of root.querySelectorAll("[data-role]")) {
      this.part[element.dataset.role] = element;
    }
    this.zoomed = false;
    const part = this.part;
    part.toggle.addEventListener("click", () => this.toggle());
    part.zoom.addEventListener("click", () => this.zoom());
    part.slice.addEventListener("input", () => this.go(Number(part.slice.value)));
    for (const frame of [part["own-frame"], part["other-frame"]]) {
      frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      frame.addEventListener("click", (event) => this.zoom(event));
      frame.addEventListener("mousemove", (event) => this.zoomed && this.aim(event));
    }
  }

  pictures(item) {
    const part = this.part;
    const other = item.negative;
    part["own-what"].textContent = item.patient ? `of patient ${item.patient}` : "";
    this.picture(part["own-frame"], part["own-image"], item.image, item);
    part.other.hidden = !other;
    part["other-told"].textContent = other ? this.told(other) : "";
    if (other) {
      part["other-what"].textContent = other.what;
      this.picture(part["other-frame"], part["other-image"], other.image, item);
    }
    part.outlines.setAttribute("viewBox", `0 0 ${item.width} ${item.height}`);
    const marked = new Set(item.lesions.flatMap((lesion) => Object.keys(lesion.outlines)));
    part.ticks.replaceChildren(
      ...Array.from({ length: item.slices }, (_, index) => {
        const tick = make("i", { className: marked.has(String(index)) ? "has" : "" });
        const share = item.slices > 1 ? index / (item.slices - 1) : 0.5;
        tick.style.left = `calc(${THUMB}px + (100% - ${2 * THUMB}px) * ${share})`;
        return tick;
      }),
    );
  }

  picture(frame, image, key, item) {
    frame.style.aspectRatio = `${item.width} / ${item.height}`;
    image.hidden = !key;
    frame.querySelector(".absent").hidden = Boolean(key);
    if (key) image.src = this.images[key];
    else image.removeAttribute("src");
    image.style.height = `${100 * item.slices}%`;
  }

  told(other) {
    const lines = [other.role, ...other.note].filter(Boolean);
    if (other.labels) lines.push(`shows: ${other.labels.join(", ") || "none of the labels"}`);
    return lines.length ? `The negative\n${lines.join("\n")}` : "";
  }

  light(lesions, on) {
    this.lit = on ? lesions : [];
    const slices = new Set(this.lit.flatMap((lesion) => Object.keys(lesion.outlines)));
    [...this.part.ticks.children].forEach((tick, index) =>
      tick.classList.toggle("lit", slices.has(String(index))),
    );
    this.outline();
  }

  go(index) {
    const item = this.item;
    this.index = Math.max(0, Math.min(item.slices - 1, index));
    this.part.slice.value = this.index;
    const position = item.positions[this.index];
    const where = position === undefined ? "" : `\nz ${position.toFixed(1).replace("-", "−")} mm`;
    const place = `Slice ${this.index + 1} of ${item.slices}${where}`;
    this.part.place.textContent = place;
    this.part.slice.setAttribute("aria-valuetext", place);
    for (const [role, what] of [["own-image", "own image"], ["other-image", "negative"]]) {
      this.part[role].style.transform = `translateY(${(-100 * this.index) / item.slices}%)`;
      this.part[role].alt = `${place} of ${item.id}, ${what}`;
    }
    this.outline();
  }

  outline() {
    const shapes = [];
    for (const lesion of this.item.lesions) {
      for (const points of lesion.outlines[this.index] ?? []) {
        const polygon = document.createElementNS(SVG, "polygon");
        polygon.setAttribute("points", points);
        polygon.classList.toggle("lit", Boolean(this.lit?.includes(lesion)));
        shapes.push(polygon);
      }
    }
    this.part.outlines.replaceChildren(...shapes);
  }

  toggle() {
    const on = this.part.toggle.getAttribute("aria-pressed") !== "true";
    this.part.toggle.setAttribute("aria-pressed", String(on));
    this.root.classList.toggle("outlines-off", !on);
  }

  zoom(event, on = !this.zoomed) {
    this.zoomed = on;
    this.part.zoom.setAttribute("aria-pressed", String(on));
    for (const role of ["own-frame", "other-frame"]) this.part[role].classList.toggle("zoomed", on);
    this.aim(event);
  }

  // Both images are enlarged around the same point, so that they stay comparable.
  aim(event) {
    let origin = "50% 50%";
    if (event) {
      const box = event.currentTarget.getBoundingClientRect();
      const share = (at, start, size) => (100 * (at - start)) / size;
      origin = `${share(event.clientX, box.left, box.width)}% ${share(event.clientY, box.top, box.height)}%`;
    }
    for (const role of ["own-frame", "other-frame"]) {
      this.part[role].querySelector(".layer").style.transformOrigin = origin;
    }
  }

  wheel(event) {
    if (event.ctrlKey || !event.deltaY) return;
    const now = performance.now();
    const rested = now - (this.wheeled ?? -WHEEL_REST) >= WHEEL_REST;
    this.wheeled = now;
    const next = this.index + Math.sign(event.deltaY);
    const inside = next >= 0 && next < this.item.slices;
    if (!inside && rested) return;
    event.preventDefault();
    this.travel = (rested ? 0 : this.travel ?? 0) + Math.abs(event.deltaY);
    if (inside && (rested || this.travel >= 40)) {
      this.travel = 0;
      this.go(next);
    }
  }
}
