// The list of cases, the filter, the texts and the keys around a viewer.
class Browser extends Viewer {
  constructor(root) {
    super(root);
    const data = JSON.parse(document.getElementById(root.dataset.source).textContent);
    this.images = data.images;
    this.cases = data.cases;
    const part = this.part;
    part.filter.addEventListener("change", () => this.filter());
    part.previous.addEventListener("click", () => this.step(-1));
    part.next.addEventListener("click", () => this.step(1));
    root.addEventListener("keydown", (event) => this.key(event));
    this.filter();
  }

  filter() {
    const [kind, ...rest] = this.part.filter.value.split(":");
    const label = rest.join(":");
    const bad = (item, verdicts) =>
      [...item.reference, ...item.generated, ...item.findings].some((s) => verdicts.includes(s.verdict));
    this.shown = this.cases.filter((item) => {
      if (kind === "conflict") return bad(item, ["conflict"]);
      if (kind === "error") return bad(item, ["conflict", "missed", "hallucinated"]);
      if (kind === "label") return item.findings.some((finding) => finding.label === label);
      return true;
    });
    const all = this.cases.length;
    this.part.count.textContent =
      this.shown.length === all ? `${all} cases` : `${this.shown.length} of ${all} cases`;
    this.part.list.replaceChildren(...this.shown.map((item) => this.entry(item)));
    this.part.viewer.hidden = this.shown.length === 0;
    if (this.shown.length) this.open(this.shown.includes(this.item) ? this.item : this.shown[0]);
  }

  entry(item) {
    const count = (verdict) => item.findings.filter((f) => f.verdict === verdict).length;
    const tally = ["agree", "missed", "hallucinated"]
      .filter((verdict) => count(verdict))
      .map((verdict) => `${SIGNS[verdict][0]}${count(verdict)}`)
      .join(" ");
    const button = make(
      "button",
      { type: "button", tabIndex: -1 },
      make("span", { textContent: item.id }),
      make("span", { className: "tally", textContent: tally }),
    );
    button.addEventListener("click", () => this.open(item));
    return make("li", {}, button);
  }

  step(by) {
    const place = this.shown.indexOf(this.item) + by;
    if (place >= 0 && place < this.shown.length) this.open(this.shown[place]);
  }

  open(item) {
    this.item = item;
    const part = this.part;
    const place = this.shown.indexOf(item);
    [...part.list.children].forEach((entry, index) => {
      const button = entry.firstChild;
      const focused = button === document.activeElement || part.list.contains(document.activeElement);
      button.tabIndex = index === place ? 0 : -1;
      button.setAttribute("aria-current", String(index === place));
      if (index === place) {
        if (focused) button.focus({ preventScroll: true });
        part.list.scrollTop = button.offsetTop - part.list.offsetTop - part.list.clientHeight / 2;
        part.list.scrollLeft = button.offsetLeft - part.list.offsetLeft - part.list.clientWidth / 2;
      }
    });
    part.previous.disabled = place === 0;
    part.next.disabled = place === this.shown.length - 1;
    part.title.textContent = item.id;
    part.split.textContent = item.split;
    this.pictures(item);
    this.texts(item);
    part.slice.max = item.slices - 1;
    this.zoom(null, false);
    const best = item.lesions.map((lesion) => lesion.best).find((slice) => slice !== null);
    this.go(best ?? Math.floor(item.slices / 2));
  }

  texts(item) {
    const part = this.part;
    part.findings.replaceChildren(
      ...item.findings.map((finding) => {
        const chip = make("span", { className: `say ${finding.verdict}` });
        sign(finding.verdict, chip);
        chip.append(words(finding.detail ? `${finding.label} (${finding.detail})` : finding.label));
        this.link(chip, [finding.label]);
        return make("li", {}, chip);
      }),
    );
    this.report(part.reference, item.reference);
    this.report(part.generated, item.generated);
    const text = item.negative?.generated;
    part["other-report"].hidden = typeof text !== "string";
    part["other-generated"].textContent = text || "(an empty text)";
  }

  report(parent, sentences) {
    parent.replaceChildren();
    for (const sentence of sentences) {
      const span = make("span", { className: `say ${sentence.verdict}` });
      if (sentence.verdict) sign(sentence.verdict, span);
      span.append(words(sentence.text));
      this.link(span, sentence.labels);
      parent.append(span, " ");
    }
    if (!sentences.length) parent.append(make("em", { textContent: "No text." }));
  }

  // Hover lights up the lesions and slices of these labels; click or Enter goes there.
  link(element, labels) {
    const lesions = this.item.lesions.filter((l) => labels.includes(l.label) && l.best !== null);
    if (!lesions.length) return;
    element.classList.add("linked");
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    const light = (on) => () => this.light(lesions, on);
    element.addEventListener("mouseenter", light(true));
    element.addEventListener("mouseleave", light(false));
    element.addEventListener("focus", light(true));
    element.addEventListener("blur", light(false));
    element.addEventListener("click", () => this.go(lesions[0].best));
    element.addEventListener("keydown", (event) => {
      if (!["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      this.go(lesions[0].best);
    });
  }

  key(event) {
    if (event.target === this.part.filter || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowUp: () => this.go(this.index - 1),
      ArrowDown: () => this.go(this.index + 1),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      l: () => this.toggle(),
      z: () => this.zoom(),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || !this.shown.length) return;
    event.preventDefault();
    action();
  }
}

for (const root of document.querySelectorAll(".browser")) new Browser(root);

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.closed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-closed]")) {
    details.open = false;
    delete details.dataset.closed;
  }
});
