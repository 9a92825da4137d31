// Spans of a snooze.

import { fromField, toField } from './format.js';

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];

/** @param {number} span */
const after = (span) => (/** @type {Date} */ now) => new Date(now.getTime() + span);

/** Next 08:00 in the page's zone, when most shifts begin. @param {Date} now */
function morning(now) {
  const at = (/** @type {Date} */ day) => fromField(`${toField(day).slice(0, 10)}T08:00`) ?? day;
  const today = at(now);
  return today > now ? today : at(new Date(now.getTime() + DAY));
}

/** Ends at a time; null ends a snooze at once. @type {{name: string, until: (now: Date) => Date | null}[]} */
export const SNOOZES = [
  { name: '1 hour', until: after(HOUR) },
  { name: '15 minutes', until: after(15 * MINUTE) },
  { name: '4 hours', until: after(4 * HOUR) },
  { name: 'until 08:00', until: morning },
  { name: '1 week', until: after(7 * DAY) },
  { name: 'end snooze now', until: () => null },
];
