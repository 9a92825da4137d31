// Regions of a finding's evidence, requested once for marks and cards.

import { ask } from './api.js';

/** @import {Finding, Regions} from './types' */

/** Findings whose regions are kept, twice those that are listed. */
const MOST = 200;

/** @type {Map<string, Promise<Regions>>} */
const kept = new Map();

/** True if it has evidence on the picture. @param {Finding} finding */
export const hasPlaces = ({ evidence }) => evidence.some(({ box, grounded }) => box && grounded !== false);

/** @param {Finding} finding */
export function regionsOf({ id }) {
  const found = kept.get(id);
  if (found) return found;
  /** @type {Promise<Regions>} */
  const asked = ask(`/api/findings/${id}/regions`);
  kept.set(id, asked);
  asked.catch(() => kept.delete(id));
  for (const oldest of kept.keys()) {
    if (kept.size <= MOST) break;
    kept.delete(oldest);
  }
  return asked;
}
