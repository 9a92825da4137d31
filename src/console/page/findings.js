// List of findings: those of the streams that are shown, newest first.

import { cropOf } from './crop.js';
import { at, el, foreign, mark, quoted, soon, toIncident } from './dom.js';
import { clock } from './format.js';

/** @import {Finding} from './types' */

/** Most findings shown, and kept of all streams. */
const [MOST, KEPT] = [100, 400];

export class Findings {
  #list;
  #none;
  /** Newest first. @type {Finding[]} */ #all = [];
  /** Streams that are shown; null for all. @type {string[] | null} */ #streams = null;
  /** @type {Map<string, HTMLElement>} */ #rows = new Map();
  #everywhere = /** @type {HTMLInputElement} */ (at('everywhere'));
  #draw = soon(() => this.#show());

  /** @param {HTMLElement} list @param {HTMLElement} none */
  constructor(list, none) {
    this.#list = list;
    this.#none = none;
    this.#everywhere.addEventListener('change', () => this.#show());
  }

  /** @param {Finding} finding */
  add(finding) {
    // By the time that is shown: findings of a slow analyst come late.
    const older = this.#all.findIndex((one) => isNewer(finding, one));
    if (this.#all.some(({ id }) => id === finding.id) || older < 0 && this.#all.length >= KEPT) return;
    this.#all.splice(older < 0 ? this.#all.length : older, 0, finding);
    this.#all.length = Math.min(this.#all.length, KEPT);
    this.#draw();
  }

  /** Shows the findings of these streams; of all for null. @param {string[] | null} streams */
  of(streams) {
    if (JSON.stringify(streams) === JSON.stringify(this.#streams)) return;
    this.#streams = streams;
    this.#draw();
  }

  #show() {
    const streams = this.#everywhere.checked ? null : this.#streams;
    const shown = this.#all.filter(({ stream }) => !streams || streams.includes(stream)).slice(0, MOST);
    this.#none.hidden = shown.length > 0;
    const before = this.#rows;
    this.#rows = new Map();
    /** @type {Element | null} */ let last = null;
    for (const finding of shown) {
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

/** @param {Finding} one @param {Finding} other */
function isNewer(one, other) {
  const later = Date.parse(one.observed_at) - Date.parse(other.observed_at);
  // Ids are UUIDv7: they sort by the time they were made.
  return later > 0 || later === 0 && one.id > other.id;
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
