// List of findings, newest first.

import { cropOf } from './crop.js';
import { el, foreign, mark, quoted, soon, toIncident } from './dom.js';
import { clock } from './format.js';

/** @import {Finding} from './types' */

const MOST = 100;

export class Findings {
  #list;
  #none;
  /** Newest first. @type {Finding[]} */ #all = [];
  /** @type {Map<string, HTMLElement>} */ #rows = new Map();
  #draw = soon(() => this.#show());

  /** @param {HTMLElement} list @param {HTMLElement} none */
  constructor(list, none) {
    this.#list = list;
    this.#none = none;
  }

  /** @param {Finding} finding */
  add(finding) {
    // Ids are UUIDv7: they sort by time.
    const older = this.#all.findIndex(({ id }) => id <= finding.id);
    if (this.#all[older]?.id === finding.id || older < 0 && this.#all.length >= MOST) return;
    this.#all.splice(older < 0 ? this.#all.length : older, 0, finding);
    this.#all.length = Math.min(this.#all.length, MOST);
    this.#draw();
  }

  #show() {
    this.#none.hidden = this.#all.length > 0;
    const before = this.#rows;
    this.#rows = new Map();
    /** @type {Element | null} */ let last = null;
    for (const finding of this.#all) {
      const row = before.get(finding.id) ?? render(finding);
      before.delete(finding.id);
      this.#rows.set(finding.id, row);
      /** @type {ChildNode | null} */ const next = last ? last.nextSibling : this.#list.firstChild;
      if (row !== next) this.#list.insertBefore(row, next);
      last = row;
    }
    for (const row of before.values()) row.remove();
  }
}

/** @param {Finding} finding */
function render(finding) {
  const { id, severity, observed_at, agent, stream, title, detail, incident, evidence } = finding;
  const proof = evidence.find(({ quote, grounded }) => quote && grounded !== false) ?? evidence.find(({ quote }) => quote);
  return el(
    'li',
    { 'data-id': id, 'data-severity': severity, title: detail },
    el('p', { class: 'quiet' }, mark(severity), ' ', clock(observed_at), ` ${agent} · ${stream}`),
    el('h3', {}, incident ? toIncident(incident, title) : foreign(title)),
    proof && quoted(proof.quote, proof.grounded),
    cropOf(finding),
  );
}
