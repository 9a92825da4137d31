// Findings of the listed incidents over the last hour, and their pictures:
// fetched for the rows that are drawn, together.

import { ask, serverNow } from './api.js';
import { el, fill, svg } from './dom.js';
import { counted } from './format.js';

/** @import {Activity, List} from './types' */

const HOUR = 3_600_000;
/** Columns of a sparkline: 3 minutes each. */
const COLUMNS = 20;
/** Delay in ms: rows that scroll by are not asked for. */
const SOON = 150;
/** Age in ms from which a row is asked for again. */
const STALE = 60_000;
/** Most incidents of a request. */
const MOST = 100;

export class Sparks {
  /** @type {Map<string, {activity: Activity, at: number}>} */ #known = new Map();
  /** @type {Set<string>} */ #wanted = new Set();
  #waits = 0;
  #list;

  /** @param {HTMLElement} list The list with the rows. */
  constructor(list) {
    this.#list = list;
    setInterval(() => this.#again(), STALE);
  }

  /** Parts of a row: its sparkline, and its picture if pictures are shown. @param {string} id @param {boolean} pictures @returns {HTMLElement[]} */
  parts(id, pictures) {
    const spark = el('span', { class: 'spark' });
    const still = pictures ? el('span', { class: 'still' }) : null;
    const known = this.#known.get(id);
    if (known) draw(known.activity, spark, still);
    if (!known || Date.now() - known.at > STALE) this.#want(id);
    return still ? [still, spark] : [spark];
  }

  /** Handles a new finding of an incident. @param {string} id */
  stale(id) {
    const known = this.#known.get(id);
    if (known) known.at = 0;
  }

  /** Asks again for the rows that are drawn. */
  #again() {
    if (document.hidden) return;
    for (const row of this.#list.querySelectorAll('[data-id]')) {
      const id = /** @type {HTMLElement} */ (row).dataset.id ?? '';
      if (Date.now() - (this.#known.get(id)?.at ?? 0) > STALE) this.#want(id);
    }
  }

  /** @param {string} id */
  #want(id) {
    this.#wanted.add(id);
    clearTimeout(this.#waits);
    this.#waits = window.setTimeout(() => this.#fetch(), SOON);
  }

  async #fetch() {
    // Those that are still drawn: the others have scrolled by.
    const ids = [...this.#wanted].filter((id) => this.#row(id)).slice(0, MOST);
    this.#wanted.clear();
    if (ids.length === 0) return;
    const to = serverNow();
    const within = `from=${new Date(to - HOUR).toISOString()}&to=${new Date(to).toISOString()}&buckets=${COLUMNS}`;
    /** @type {List<Activity>} */
    let page;
    try {
      page = await ask(`/api/incidents/activity?ids=${ids.join()}&${within}`);
    } catch {
      // The connection's own notice says so; the next drawing asks again.
      return;
    }
    for (const activity of page.items) {
      this.#known.set(activity.incident, { activity, at: Date.now() });
      const row = this.#row(activity.incident);
      if (row) draw(activity, row.querySelector('.spark'), row.querySelector('.still'));
    }
  }

  /** @param {string} id */
  #row(id) {
    return this.#list.querySelector(`[data-id="${CSS.escape(id)}"]`);
  }
}

/** @param {Activity} activity @param {Element | null} spark @param {Element | null} still */
function draw({ findings, still: url }, spark, still) {
  const most = Math.max(1, ...findings);
  const bars = findings.map((count, nth) => (count > 0 ? `M${nth} 10v-${Math.max(1.5, count / most * 10).toFixed(1)}h.8v10z` : ''));
  const drawn = svg(
    'svg',
    { viewBox: `0 0 ${findings.length} 10`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { d: bars.join('') }),
  );
  if (spark) {
    fill(spark, drawn);
    /** @type {HTMLElement} */ (spark).title = `${counted(findings.reduce((sum, one) => sum + one, 0), 'finding')} in the last hour`;
  }
  if (still) fill(still, url && el('img', { src: url, alt: '', loading: 'lazy', decoding: 'async' }));
}
