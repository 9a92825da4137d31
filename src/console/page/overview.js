// What stands above the incident list: the histogram over time, and the counts
// of the facets.

import { ask } from './api.js';
import { at } from './dom.js';
import { Histogram } from './histogram.js';
import { offerStreams, scopeRange, scopeTo, zoomOut } from './scope.js';

/** @import {Facets, Histogram as Counts} from './types' */
/** @import {Filters} from './filters.js' */

/** Shortest interval of counting again in ms; an open range moves on as slowly. */
const AGAIN = 3000;
const MOVES = 30_000;
/** Width of a column in CSS pixels, and the most of them. */
const COLUMN = 12;
const MOST = 120;

export class Overview {
  #filters;
  #histogram = new Histogram(at('when'), (from, to) => scopeTo(from, to));
  #waits = 0;
  #latest = 0;

  /** @param {Filters} filters */
  constructor(filters) {
    this.#filters = filters;
    at('zoomout').addEventListener('click', () => zoomOut());
    setInterval(() => this.#isSeen() && this.load(), MOVES);
  }

  #isSeen() {
    return !document.hidden && !at('incidents').hidden;
  }

  /** Counts again soon. */
  changed() {
    if (this.#waits) return;
    this.#waits = window.setTimeout(() => {
      this.#waits = 0;
      if (this.#isSeen()) this.load();
    }, AGAIN);
  }

  async load() {
    const mine = ++this.#latest;
    const query = this.#filters.query;
    const columns = Math.min(MOST, Math.max(20, Math.floor(at('when').clientWidth / COLUMN)));
    try {
      const [facets, counts] = await Promise.all([
        /** @type {Promise<Facets>} */ (ask(`/api/incidents/facets?${query}`)),
        /** @type {Promise<Counts>} */ (ask(`/api/incidents/histogram?${query}&buckets=${columns}`)),
      ]);
      if (mine !== this.#latest) return;
      this.#filters.count(facets);
      offerStreams(this.#filters.names('stream'));
      this.#histogram.show(counts);
      at('zoomout').hidden = !scopeRange();
    } catch {
      // The list says so, whose request fails too.
    }
  }
}
