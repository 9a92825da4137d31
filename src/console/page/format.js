// Times, durations, counts, sizes and costs: one format of each on the page.
//
// A time is ISO 8601 with a blank, 24 h, in the zone of the header's switch;
// its title is the full form.

import { serverNow } from './api.js';
import { el } from './dom.js';

/** @typedef {'utc' | 'local'} Zone */

const KEPT = 'watchtower.zone';
const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];
/** RFC 3339 times in the server's texts. */
const STAMP = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/;

/** @type {Zone} */
let shown = localStorage.getItem(KEPT) === 'local' ? 'local' : 'utc';
/** Zone that times are shown in. */
export const zone = () => shown;

/** Shows all times in another zone, and keeps it in the browser. @param {Zone} chosen */
export function setZone(chosen) {
  shown = chosen;
  localStorage.setItem(KEPT, chosen);
  retime();
  document.dispatchEvent(new Event('zone'));
}

/** ISO 8601 form of a time in a zone. @param {Date} when @param {Zone} within */
const wall = (when, within) => new Date(when.getTime() - (within === 'utc' ? 0 : when.getTimezoneOffset() * 60_000)).toISOString();

const named = new Intl.DateTimeFormat('en', { timeZoneName: 'short' });
/** Mark of a zone, such as "UTC" or "GMT+1", at that time. @param {Date} when @param {Zone} within */
const mark = (when, within) => (within === 'utc' ? 'UTC' : named.formatToParts(when).find(({ type }) => type === 'timeZoneName')?.value ?? 'local');

/** @param {Date} when @param {Zone} within */
const dateTime = (when, within) => wall(when, within).slice(0, 19).replace('T', ' ');

/** Date and time with the zone. @param {Date | string} stamp @param {Zone} [within] */
export const full = (stamp, within = zone()) => `${dateTime(new Date(stamp), within)} ${mark(new Date(stamp), within)}`;

/** Date and time in UTC, for a file. @param {Date | string} stamp */
export const utc = (stamp) => full(stamp, 'utc');

/** Time in both zones, where they differ. @param {Date} when */
function both(when) {
  return when.getTimezoneOffset() === 0 ? utc(when) : `${utc(when)} (${full(when, 'local')})`;
}

/** Time of day, with the date when it is not today. @param {Date} when */
function short(when) {
  const [day, today] = [when, new Date(serverNow())].map((one) => wall(one, zone()).slice(0, 10));
  return dateTime(when, zone()).slice(day === today ? 11 : 0);
}

/** Time elapsed, within a day; after that as in `short`. @param {Date} when */
function since(when) {
  const seconds = Math.max(0, Math.floor((serverNow() - when.getTime()) / 1000));
  if (seconds >= DAY) return short(when);
  if (seconds < MINUTE) return `${seconds} s ago`;
  return seconds < HOUR ? `${Math.floor(seconds / MINUTE)} min ago` : `${Math.floor(seconds / HOUR)} h ago`;
}

/** Range of times, such as "01:20:00 to 01:40:00". @param {Date} from @param {Date} to */
export function stamp(from, to) {
  const [start, end] = [short(from), short(to)];
  const sameDay = start.length > 8 && start.slice(0, 10) === end.slice(0, 10);
  return `${start} to ${sameDay ? end.slice(11) : end}`;
}

/** Time on the scale of a range of this length in ms. @param {Date} when @param {number} length */
export function tick(when, length) {
  const days = length / 1000 / DAY;
  if (days <= 1.1) return minute(when);
  return days < 4 ? `${monthDay(when)} ${minute(when)}` : monthDay(when);
}

/** Time to the minute, for the header and a scale. @param {Date} when */
export const minute = (when) => wall(when, zone()).slice(11, 16);
/** Month and day, for a scale. @param {Date} when */
export const monthDay = (when) => wall(when, zone()).slice(5, 10);
/** Mark of the zone that times are shown in. @param {Date} when */
export const zoneMark = (when) => mark(when, zone());

/** Properties of a field in which a time is entered: a native one follows the browser's language, with AM and PM. */
export const TIME_FIELD = {
  type: 'text',
  pattern: '\\s*(\\d{4}-\\d{2}-\\d{2}[ T])?\\d{1,2}:\\d{2}(:\\d{2})?\\s*',
  placeholder: 'YYYY-MM-DD HH:MM',
  title: 'YYYY-MM-DD HH:MM, 24 h; HH:MM is today',
  autocomplete: 'off',
};
/** Value of such a field, to the minute. @param {Date} when */
export const toField = (when) => wall(when, zone()).slice(0, 16).replace('T', ' ');
/** Time of such a field; null when it is empty or none. @param {string} value */
export function fromField(value) {
  const found = /^\s*(?:(\d{4}-\d\d-\d\d)[ T])?(\d\d?):(\d\d)(?::(\d\d))?\s*$/.exec(value);
  if (!found) return null;
  const [, day = wall(new Date(serverNow()), zone()).slice(0, 10), hour, minute, second = '00'] = found;
  const when = new Date(`${day}T${hour.padStart(2, '0')}:${minute}:${second}${zone() === 'utc' ? 'Z' : ''}`);
  return Number.isNaN(when.getTime()) ? null : when;
}
/** Tells the user what is wrong with such a field; true if nothing is. @param {HTMLInputElement} field */
export function isTime(field) {
  const wrong = field.value.trim() !== '' && !fromField(field.value);
  field.setCustomValidity(wrong ? `Expected YYYY-MM-DD HH:MM, got ${field.value.trim()}` : '');
  return field.reportValidity();
}

/**
 * Writes the times of an element, now and whenever the zone or the day changes.
 * @template {Element} T
 * @param {T} element
 * @param {() => void} write
 */
export function timed(element, write) {
  element.classList.add('timed');
  element.addEventListener('retime', write);
  write();
  return element;
}

/** Updates all times of the page: "ago" grows, and the day changes. */
export function retime() {
  for (const one of document.querySelectorAll('.timed')) one.dispatchEvent(new Event('retime'));
}

/** @param {string} stamp @param {(when: Date) => string} written */
function time(stamp, written) {
  const when = new Date(stamp);
  const made = el('time', { dateTime: stamp, title: both(when) });
  return timed(made, () => {
    const text = written(when);
    // A selection, to be copied, is kept.
    if (made.textContent !== text) made.textContent = text;
  });
}

/** Time of day, with the date when it is not today. @param {string} stamp */
export const clock = (stamp) => time(stamp, short);
/** Elapsed time, such as "3 min ago". @param {string} stamp */
export const ago = (stamp) => time(stamp, since);

/**
 * Text of the server, with its RFC 3339 times in the page's format.
 * @template T
 * @param {string} text
 * @param {(stamp: string) => T} made
 * @returns {(string | T)[]}
 */
export const withTimes = (text, made) => text.split(STAMP).map((part, nth) => (
  // Screen text may contain invalid dates, such as the 99th of a month.
  nth % 2 === 1 && !Number.isNaN(Date.parse(part)) ? made(part) : part));
/** The same for text of a screen or a model, as in `foreign`. @param {string} text @param {string} [name] */
export const foreignTimed = (text, name = 'span') => el(name, { dir: 'auto', class: 'foreign' }, ...withTimes(text, clock));
/** The same as plain text. @param {string} text */
export const inZone = (text) => withTimes(text, full).join('');
/** The same for a file. @param {string} text */
export const inUtc = (text) => withTimes(text, utc).join('');

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 2 * MINUTE) return `${Math.round(seconds)} s`;
  return seconds < 2 * HOUR ? `${Math.round(seconds / MINUTE)} min` : `${Math.round(seconds / HOUR)} h`;
}

/** @param {number} count */
export const number = (count) => count.toLocaleString('en');
/** Count with its noun: "1 finding", "3 findings", "200+ findings". @param {number} count @param {string} noun @param {boolean} [more] There are more than these. */
export const counted = (count, noun, more = false) => `${number(count)}${more ? '+' : ''} ${noun}${count === 1 && !more || noun.endsWith('s') ? '' : 's'}`;

/** Model as named: provider, name and version, each said once. @param {string} provider @param {string} name @param {string} [version] */
export const modelName = (provider, name, version = '') => [
  name.toLowerCase().startsWith(provider.toLowerCase()) ? '' : provider, name, version === name ? '' : version,
].filter(Boolean).join(' ');

/** @param {number} micro */
export const usd = (micro) => `${(micro / 1e6).toFixed(4)} USD`;

/** @param {number} bytes */
export function size(bytes) {
  const step = bytes > 0 ? Math.min(Math.floor(Math.log10(bytes) / 3), 4) : 0;
  return `${(bytes / 1000 ** step).toFixed(step > 2 ? 1 : 0)} ${['B', 'kB', 'MB', 'GB', 'TB'][step]}`;
}
