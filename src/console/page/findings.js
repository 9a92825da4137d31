// The list of findings, newest first. What stands in a finding was read off
// somebody's screen: it only ever becomes text.

const MOST = 200;

export class Findings {
  #list;
  #none;
  #known = new Set();

  constructor(list, none) {
    this.#list = list;
    this.#none = none;
  }

  add(finding) {
    if (this.#known.has(finding.id)) return;
    this.#known.add(finding.id);
    this.#none.hidden = true;
    // Ids are UUIDv7: their order is that of time.
    const item = render(finding);
    const older = [...this.#list.children].find((other) => other.dataset.id < finding.id);
    this.#list.insertBefore(item, older ?? null);
    while (this.#list.children.length > MOST) this.#list.lastElementChild.remove();
  }
}

function render(finding) {
  const item = element('li');
  item.dataset.id = finding.id;
  item.dataset.severity = finding.severity;
  const at = new Date(finding.observed_at);
  const head = element('header', `${at.toLocaleTimeString()} · ${finding.agent} · ${finding.stream} · ${finding.severity}`);
  item.append(head, element('h3', finding.title));
  const proof = finding.evidence.find((evidence) => evidence.quote);
  if (proof) item.append(element('q', proof.quote));
  item.title = finding.detail;
  return item;
}

function element(name, text = '') {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
