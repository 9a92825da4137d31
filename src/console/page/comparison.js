// Comparison of places with the pictures of a video, one after the other.

import { isAlike, isBlank } from './likeness.js';

/** Place and what was seen there; null for one that is to be blank. @typedef {{id: number, area: number[], columns: number, rows: number, seen: Uint8Array | null}} Place */
/** @typedef {{id: number, alike: boolean}} Change */
/** @typedef {{place: Place, alike: boolean, since: number}} Compared */

/** Interval in ms at which a place is compared; one that is alike, is at every picture. */
const AGAIN = 400;

export class Comparison {
  /** @type {Map<number, Compared>} */ #all = new Map();

  get isEmpty() { return this.#all.size === 0; }

  /** Sets the places; what is known of one stays known. @param {Place[]} places */
  set(places) {
    this.#all = new Map(places.map((place) => [place.id, this.#all.get(place.id) ?? { place, alike: false, since: -Infinity }]));
  }

  /** Forgets what was seen, so that it is found again. */
  reset() {
    for (const one of this.#all.values()) [one.alike, one.since] = [false, -Infinity];
  }

  /**
   * Compares the places that are due with a picture.
   * @param {(places: Place[]) => Promise<Float32Array[] | null>} read Luma of places on it; null where it can't be read.
   * @param {number} now In ms.
   * @returns {Promise<Change[] | null>} Places that changed; null if it could not be read.
   */
  async look(read, now) {
    const due = [...this.#all.values()].filter(({ place, alike, since }) => alike && place.seen || now - since >= AGAIN);
    if (due.length === 0) return [];
    const live = await read(due.map(({ place }) => place));
    if (live === null) return null;
    /** @type {Change[]} */
    const changes = [];
    for (const [nth, one] of due.entries()) {
      one.since = now;
      const { id, seen, columns } = one.place;
      const alike = seen ? isAlike(seen, live[nth], columns) : isBlank(live[nth]);
      // Reset or removed meanwhile: the next picture tells.
      if (this.#all.get(id) !== one || alike === one.alike) continue;
      one.alike = alike;
      changes.push({ id, alike });
    }
    return changes;
  }
}
